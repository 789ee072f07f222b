//! HTTP as it is on the wire, with any key or none.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::harness::{KEY, Server};

/// An answer; a body that was sent in chunks is as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends one request; the connection on which the answer comes, and then closes.
pub(crate) fn send(address: &str, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// One request and its whole answer.
pub(crate) fn request(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut text = String::new();
    send(address, method, path, headers, body).read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
}

/// The header that carries a key.
pub(crate) fn with(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}

impl Server {
    pub(crate) fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    pub(crate) fn ask_as(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        request(self.address(), method, path, &key.map(with).unwrap_or_default(), body)
    }

    /// As the admin.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_as(Some(KEY), method, path, body)
    }
}
