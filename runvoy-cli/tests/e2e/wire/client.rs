//! What the Go command line of 0.5 does on the wire: its headers, its one connection, the order of its calls, and the types
//! that it reads answers into.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::{Heard, Socket, said};
use super::world::World;
use super::{Rule, scene};
use crate::harness::{KEY, PATIENCE};

/// One `http.Client`: a connection that is kept.
struct Go {
    address: String,
    key: String,
    stream: BufReader<TcpStream>,
}

struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl Go {
    fn new(w: &World, key: &str) -> Self {
        let stream = TcpStream::connect(w.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { address: w.address().to_owned(), key: key.to_owned(), stream: BufReader::new(stream) }
    }

    /// Sends what `net/http` sends: its names in canonical form, in its order.
    fn call(&mut self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Reply {
        let body = body.map(ToString::to_string);
        let length = body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len()));
        let text = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\n{}\
             Content-Type: application/json\r\nX-Api-Key: {}\r\nAccept-Encoding: gzip\r\n\r\n{}",
            self.address,
            length.unwrap_or_default(),
            self.key,
            body.unwrap_or_default()
        );
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let head = self.head();
        let status = head[0].strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let value = |name: &str| {
            let found = head
                .iter()
                .filter_map(|line| line.split_once(": "))
                .find(|(it, _)| it.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        assert_eq!(value("content-encoding"), None);
        let body = match (value("content-length"), value("transfer-encoding")) {
            (Some(length), None) => self.exactly(length.parse().unwrap()),
            (None, Some(_)) => self.chunks(),
            (None, None) => {
                assert_eq!(status, 204, "{head:?}");
                Vec::new()
            }
            both => panic!("{both:?}"),
        };
        Reply { status, body }
    }

    fn head(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("the connection was not kept: {line:?}"))
            .to_owned()
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            whole.extend(self.exactly(size));
            assert_eq!(self.line(), "");
            if size == 0 {
                return whole;
            }
        }
    }
}

impl Reply {
    /// As `json.Unmarshal` into a struct: what is missing is zero, what has another type is an error.
    fn read<T: DeserializeOwned>(&self, status: u16) -> T {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{shown}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {shown}"))
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Run {
    execution_id: String,
    log_url: String,
    status: String,
    command: String,
    image_id: String,
    websocket_url: String,
}

#[derive(Deserialize)]
struct Where {
    execution_id: String,
    status: String,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    exit_code: Option<i64>,
}

#[derive(Deserialize)]
struct Listed {
    execution_id: String,
    created_by: String,
    owned_by: Vec<String>,
    command: String,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    status: String,
    exit_code: i64,
    #[serde(default)]
    duration_seconds: i64,
}

#[derive(Deserialize)]
struct Line {
    event_id: String,
    timestamp: i64,
    message: String,
}

#[derive(Deserialize)]
struct Logs {
    execution_id: String,
    events: Option<Vec<Line>>,
    status: String,
    #[serde(default)]
    websocket_url: String,
}

#[derive(Deserialize)]
struct Secret {
    name: String,
    key_name: String,
    description: String,
    #[serde(default)]
    value: String,
    created_by: String,
    owned_by: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct One {
    secret: Secret,
}

#[derive(Deserialize)]
struct All {
    secrets: Vec<Secret>,
    total: usize,
}

/// Dials as gorilla's dialer does.
fn dial(url: &str) -> Socket {
    let (address, path) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = "x3JJHMbDL1EzLkh9GBhXDw==";
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    // Byte by byte: what follows the head belongs to the socket.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    let accept = format!("sec-websocket-accept: {}\r\n", derive_accept_key(key.as_bytes())).to_lowercase();
    assert!(head.contains(&accept), "{head}");
    Socket::shaken(stream)
}

pub(super) const RULES: &[Rule] = &[
    scene("7.calls", |w| {
        // Every call on one connection, with both headers, also where no key is known yet.
        let mut go = Go::new(w, "");
        let health: serde_json::Value = go.call("GET", "/health", None).read(200);
        assert_eq!(health["status"], "ok");
        let refused: serde_json::Value = go.call("GET", "/claim/none", None).read(404);
        assert!(refused["error"].is_string(), "{refused}");
        go.key = KEY.to_owned();
        for (method, path) in [("GET", "/users/"), ("GET", "/images"), ("GET", "/executions?limit=10")] {
            let answer: serde_json::Value = go.call(method, path, None).read(200);
            assert!(!answer.is_null(), "{path}");
        }
    }),
    scene("7.run", |w| {
        let mut go = Go::new(w, &w.developer);
        let body = json!({"command": "for n in 1 2 3; do echo line $n; done; echo oops >&2", "image": "", "env": {"CI": "1"},
            "git_repo": "", "git_ref": "", "git_path": "", "secrets": null});
        let run: Run = go.call("POST", "/run", Some(&body)).read(202);
        assert_eq!((run.status.as_str(), run.log_url.as_str(), run.image_id.as_str()), ("STARTING", "", ""));
        assert!(run.command.starts_with("for n") && run.execution_id.len() == 32);
        // Straight to the stream: it asks for nothing else.
        let mut socket = dial(&run.websocket_url);
        let (frames, _) = socket.read_to_end();
        let mut lines = said(&frames);
        lines.sort_unstable();
        assert_eq!(lines, ["line 1", "line 2", "line 3", "oops"]);
        socket.send_close(1000, "Execution completed");
        assert_eq!(socket.ends_with().0, 1000);
        assert!(matches!(socket.next(), Heard::Gone));
    }),
    scene("7.logs", |w| {
        let mut go = Go::new(w, KEY);
        let live = w.live("");
        let logs: Logs = go.call("GET", &format!("/executions/{}/logs", live.id), None).read(200);
        assert!(logs.events.is_none() && logs.status == "RUNNING" && logs.execution_id == live.id);
        let mut socket = dial(&logs.websocket_url);
        live.release();
        assert_eq!(said(&socket.read_to_end().0), ["begun", "over"]);
        let logs: Logs = go.call("GET", &format!("/executions/{}/logs", live.id), None).read(200);
        let events = logs.events.unwrap();
        let shown: Vec<_> = events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!((shown, logs.websocket_url.as_str()), (vec!["begun", "over"], ""));
        assert!(events.iter().all(|event| event.timestamp > 0 && !event.event_id.is_empty()));
    }),
    scene("7.fallback", |w| {
        // The address does not open: it asks for the log instead, once.
        let mut go = Go::new(w, KEY);
        let run: Run = go.call("POST", "/run", Some(&json!({"command": "echo said"}))).read(202);
        w.until_ended(&run.execution_id);
        let broken = run.websocket_url.replace("token=", "token=x");
        assert!(Socket::open_with(&broken, &[]).is_err());
        let logs: Logs = go.call("GET", &format!("/executions/{}/logs", run.execution_id), None).read(200);
        assert_eq!(logs.events.unwrap()[0].message, "said");
    }),
    scene("7.status", |w| {
        let status: Where =
            Go::new(w, KEY).call("GET", &format!("/executions/{}/status", w.ended), None).read(200);
        assert_eq!(
            (status.execution_id, status.status.as_str(), status.exit_code),
            (w.ended.clone(), "FAILED", Some(7))
        );
        assert!(status.completed_at.unwrap() >= status.started_at);
    }),
    scene("7.list", |w| {
        let list: Vec<Listed> =
            Go::new(w, KEY).call("GET", "/executions?limit=1000&status=FAILED", None).read(200);
        let ended = list.iter().find(|it| it.execution_id == w.ended).unwrap();
        assert_eq!(
            (ended.exit_code, ended.status.as_str(), ended.created_by.as_str()),
            (7, "FAILED", "admin@localhost")
        );
        assert_eq!((ended.owned_by.len(), ended.command.is_empty()), (1, false));
        assert!(ended.completed_at.unwrap() >= ended.started_at && ended.duration_seconds >= 0);
        let none: Vec<Listed> =
            Go::new(w, KEY).call("GET", "/executions?limit=10&status=TERMINATING", None).read(200);
        assert!(none.is_empty());
    }),
    scene("7.kill", |w| {
        let mut go = Go::new(w, KEY);
        let live = w.live("");
        let path = format!("/executions/{}", live.id);
        let killed: serde_json::Value = go.call("DELETE", &path, None).read(200);
        assert_eq!((&killed["execution_id"], killed["message"].is_string()), (&json!(live.id), true));
        w.until_ended(&live.id);
        let over = go.call("DELETE", &path, None);
        assert_eq!((over.status, over.body.len()), (204, 0));
        // The connection goes on after an answer without a body.
        let status: Where = go.call("GET", &format!("{path}/status"), None).read(200);
        assert_eq!(status.status, "STOPPED");
    }),
    scene("7.people", |w| {
        let mut go = Go::new(w, KEY);
        let body = json!({"email": "cli@acme.test", "role": "viewer"});
        let created: serde_json::Value = go.call("POST", "/users/create", Some(&body)).read(201);
        let mut newcomer = Go::new(w, "");
        let claim = format!("/claim/{}", created["claim_token"].as_str().unwrap());
        let claimed: serde_json::Value = newcomer.call("GET", &claim, None).read(200);
        newcomer.key = claimed["api_key"].as_str().unwrap().to_owned();
        let list: Vec<Listed> = newcomer.call("GET", "/executions?limit=10", None).read(200);
        assert!(!list.is_empty());
        let users: serde_json::Value = go.call("GET", "/users/", None).read(200);
        assert!(users["users"].as_array().unwrap().iter().any(|user| user["email"] == "cli@acme.test"));
        let revoked: serde_json::Value =
            go.call("POST", "/users/revoke", Some(&json!({"email": "cli@acme.test"}))).read(200);
        assert_eq!(revoked["email"], "cli@acme.test");
        let refused: serde_json::Value = newcomer.call("GET", "/executions?limit=10", None).read(401);
        assert_eq!(refused["code"], "API_KEY_REVOKED");
    }),
    scene("7.images", |w| {
        let mut go = Go::new(w, KEY);
        let body = json!({"image": "ghcr.io/acme/cli:1", "is_default": null, "cpu": null, "memory": null, "runtime_platform": null});
        let registered: serde_json::Value = go.call("POST", "/images/register", Some(&body)).read(201);
        assert_eq!(registered["image"], "ghcr.io/acme/cli:1");
        // Escaped to show, bare to remove.
        let shown: serde_json::Value = go.call("GET", "/images/ghcr.io%2Facme%2Fcli:1", None).read(200);
        let id = shown["image_id"].as_str().unwrap().to_owned();
        let removed: serde_json::Value = go.call("DELETE", &format!("/images/{id}"), None).read(200);
        assert_eq!(removed["image"], id.as_str());
    }),
    scene("7.secrets", |w| {
        let mut go = Go::new(w, &w.developer);
        let body =
            json!({"name": "cli", "key_name": "CLI_TOKEN", "value": "s3cr3t-of-cli", "description": ""});
        let made: serde_json::Value = go.call("POST", "/secrets", Some(&body)).read(201);
        assert_eq!(made["message"], "Secret created successfully");
        let one: One = go.call("GET", "/secrets/cli", None).read(200);
        assert_eq!((one.secret.key_name.as_str(), one.secret.value.as_str()), ("CLI_TOKEN", "s3cr3t-of-cli"));
        let changed: serde_json::Value =
            go.call("PUT", "/secrets/cli", Some(&json!({"description": "ci"}))).read(200);
        assert_eq!(changed["message"], "Secret updated successfully");
        let all: All = go.call("GET", "/secrets", None).read(200);
        assert_eq!((all.total, all.secrets.len()), (1, 1));
        let Secret { name, description, value, created_by, owned_by, created_at, updated_at, .. } =
            &all.secrets[0];
        assert_eq!((name.as_str(), description.as_str(), value.as_str()), ("cli", "ci", ""));
        assert!(owned_by.contains(created_by) && updated_at >= created_at);
        let body = json!({"command": "echo ${#CLI_TOKEN}", "secrets": ["cli"]});
        let run: Run = go.call("POST", "/run", Some(&body)).read(202);
        assert_eq!(said(&dial(&run.websocket_url).read_to_end().0), ["13"]);
        let removed: serde_json::Value = go.call("DELETE", "/secrets/cli", None).read(200);
        assert_eq!(removed["name"], "cli");
    }),
    scene("7.reconcile", |w| {
        let answer: serde_json::Value = Go::new(w, KEY).call("POST", "/health/reconcile", None).read(200);
        assert!(answer["report"].is_object(), "{answer}");
    }),
];
