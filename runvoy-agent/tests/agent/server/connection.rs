//! One request of one connection.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConnection, StreamOwned};

use super::Shared;

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: impl Read) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length =
            request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        stream.take(length).read_to_end(&mut request.body)?;
        Ok(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Answers one request and closes.
pub(super) fn serve(shared: &Shared, stream: TcpStream) {
    let Ok(tls) = ServerConnection::new(Arc::clone(&shared.tls)) else { return };
    let mut stream = StreamOwned::new(tls, stream);
    let Ok(request) = Request::read(&mut stream) else { return };
    let answer = answer(shared, request);
    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// What a server answers at first.
fn advertised(packets: &str) -> Vec<u8> {
    plain("200 OK", "Content-Type: application/x-git-upload-pack-advertisement\r\n", packets)
}

fn packet(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// Paths with a meaning of their own stand before that of a repository.
fn answer(shared: &Shared, mut request: Request) -> Vec<u8> {
    let path = request.path.clone();
    let (first, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((&path, ""));
    let query = &request.query;
    match first {
        "moved" => return plain("302 Found", &format!("Location: /{rest}?{query}\r\n"), ""),
        "away" => {
            return plain(
                "302 Found",
                &format!("Location: https://elsewhere.invalid/{rest}?{query}\r\n"),
                "",
            );
        }
        "around" => return plain("302 Found", &format!("Location: {path}?{query}\r\n"), ""),
        "page" => return plain("200 OK", "Content-Type: text/html\r\n", "<html>Welcome</html>"),
        // Whatever drives a terminal, as much as a packet holds.
        "rude" => {
            let service = packet("# service=git-upload-pack\n");
            return advertised(&format!(
                "{service}0000{}",
                packet(&format!("ERR {}", "\x01".repeat(65_000)))
            ));
        }
        "short" => return advertised(&(packet("# service=git-upload-pack\n") + "00000")),
        "busy" => return plain("503 Service Unavailable", "Content-Type: text/plain\r\n", "come back later"),
        _ if !is_known(shared, &request) => {
            let header = "WWW-Authenticate: Basic realm=\"git\"\r\nContent-Type: text/plain\r\n";
            return plain("401 Unauthorized", header, "who are you?");
        }
        "slow" => {
            if request.method == "POST" {
                shared.held.fetch_add(1, Ordering::SeqCst);
                shared.gate.pass();
            }
            request.path = format!("/{rest}");
        }
        _ => {}
    }
    backend(shared, &request)
}

fn is_known(shared: &Shared, request: &Request) -> bool {
    let Some(token) = &shared.token else { return true };
    let expected = format!("Basic {}", STANDARD.encode(format!("x-access-token:{token}")));
    request.header("authorization") == Some(&expected)
}

fn plain(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The real thing, by CGI.
fn backend(shared: &Shared, request: &Request) -> Vec<u8> {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = memchr::memmem::find(&output, b"\r\n\r\n").unwrap() + 4;
    let (headers, body) = output.split_at(end);
    let headers = String::from_utf8_lossy(headers);
    let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{}",
        body.len(),
        headers.trim_start_matches(|char: char| char.is_whitespace())
    );
    [head.as_bytes(), body].concat()
}
