//! Requests as they are on the wire, byte by byte, and their answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::PATIENCE;

/// A request. What it does not say is not sent.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Ask {
    /// A path below the base path.
    pub(super) fn new(method: &'static str, path: impl AsRef<str>) -> Self {
        let path = format!("/api/v1{}", path.as_ref());
        Self { method, path, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn get(path: impl AsRef<str>) -> Self {
        Self::new("GET", path)
    }

    pub(super) fn post(path: impl AsRef<str>, body: impl std::fmt::Display) -> Self {
        Self::new("POST", path).body(body)
    }

    pub(super) fn delete(path: impl AsRef<str>) -> Self {
        Self::new("DELETE", path)
    }

    pub(super) fn body(mut self, body: impl std::fmt::Display) -> Self {
        self.body = body.to_string();
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn key(self, key: &str) -> Self {
        self.header("X-API-Key", key)
    }

    /// Sends it on a connection of its own.
    pub(super) fn send(&self, address: &str) -> Told {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&self.bytes(address)).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Told::parse(&answer, self.method == "HEAD")
    }

    pub(super) fn bytes(&self, address: &str) -> Vec<u8> {
        let mut lines = vec![
            format!("{} {} HTTP/1.1", self.method, self.path),
            format!("Host: {address}"),
            "Connection: close".to_owned(),
        ];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if !self.body.is_empty() || self.method == "POST" {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        format!("{}\r\n\r\n{}", lines.join("\r\n"), self.body).into_bytes()
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Told {
    pub(super) fn parse(answer: &[u8], is_of_head: bool) -> Self {
        let at = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..at]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let is_chunked = headers.contains(&("transfer-encoding".to_owned(), "chunked".to_owned()));
        let body = &answer[at + 4..];
        let body = if is_chunked && !is_of_head { unchunked(body) } else { body.to_vec() };
        Self { status, headers, body: String::from_utf8(body).unwrap() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless it is an error of this status, in the one shape that errors have. An empty code stands for none.
    pub(super) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{self:?}");
        assert_eq!(body["code"].as_str().unwrap_or_default(), code, "{self:?}");
        assert!(!self.body.contains('%'), "clients feed it to printf: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
    }

    pub(super) fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
    }
}

/// The bytes of a body that came in chunks (RFC 9112, section 7.1).
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let at = body.windows(2).position(|part| part == b"\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[at + 4 + size..];
    }
}
