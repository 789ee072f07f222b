use serde_json::json;

use super::ask::Ask;
use super::{Rule, row, scene};
use crate::harness::{Server, signal, until};

pub(super) const RULES: &[Rule] = &[
    scene("2.shape", |w| {
        let told = w.ask(Ask::post("/users/create", json!({"email": "viewer@acme.test", "role": "viewer"})));
        told.assert_error(409, "CONFLICT");
        let body = told.json();
        assert!(body["details"].as_str().is_some_and(|details| !details.is_empty()), "{body}");
        let known = ["error", "code", "details"];
        assert!(body.as_object().unwrap().keys().all(|name| known.contains(&name.as_str())), "{body}");
    }),
    scene("2.percent", |w| {
        w.ask(Ask::post("/run", json!({"command": "true", "image": "%s%n", "lock": "%d"})))
            .assert_error(400, "INVALID_REQUEST");
        w.ask(Ask::get("/executions?limit=%25s")).assert_error(400, "invalid_request");
        w.ask(Ask::get("/images/%25s:%25d")).assert_error(404, "NOT_FOUND");
        w.send(&Ask::get("/%25n")).assert_error(404, "NOT_FOUND");
    }),
    row(
        "2.no-key",
        |w| w.send(&Ask::get("/executions")),
        |told| {
            told.assert_error(401, "");
            assert_eq!(told.json(), json!({"error": "Unauthorized", "details": "API key is required"}));
        },
    ),
    scene("2.unknown-key", |w| {
        for key in ["an-unknown-key-of-24-characters", "short", "rv_mistyped"] {
            let told = w.send(&Ask::get("/executions").key(key));
            told.assert_error(401, "INVALID_API_KEY");
            assert_eq!(told.json()["error"], "Unauthorized");
        }
    }),
    scene("2.revoked-key", |w| {
        let made =
            w.ask(Ask::post("/users/create", json!({"email": "leaver@acme.test", "role": "admin"}))).json();
        let token = made["claim_token"].as_str().unwrap().to_owned();
        let key = w.send(&Ask::get(format!("/claim/{token}"))).json()["api_key"].as_str().unwrap().to_owned();
        w.send(&Ask::get("/executions").key(&key)).assert_status(200);
        w.ask(Ask::post("/users/revoke", json!({"email": "leaver@acme.test"}))).assert_status(200);
        let told = w.send(&Ask::get("/executions").key(&key));
        told.assert_error(401, "API_KEY_REVOKED");
        assert_eq!(told.json()["error"], "Unauthorized");
    }),
    row(
        "2.role",
        |w| w.ask_as("viewer", Ask::get("/users/")),
        |told| {
            told.assert_error(403, "");
            assert_eq!(told.json()["error"], "Forbidden");
        },
    ),
    row(
        "2.content",
        |w| w.ask(Ask::post("/run", json!({"command": "true", "image": "forbidden:1"}))),
        |told| {
            told.assert_error(403, "FORBIDDEN");
        },
    ),
    scene("2.body", |w| {
        let wrong = [
            "",
            "{",
            "null",
            "[]",
            "7",
            r#""text""#,
            r#"{"command":7}"#,
            r#"{"command":"true","env":{"A":1}}"#,
            r#"{"command":"true","timeout":"1h"}"#,
            r#"{"command":"true","secrets":"one"}"#,
        ];
        for body in wrong {
            let told = w.ask(Ask::post("/run", body));
            told.assert_error(400, "");
            assert_eq!(told.json()["error"], "invalid request body", "{body}");
        }
    }),
    row(
        "2.validation",
        |w| w.ask(Ask::post("/run", json!({"command": ""}))),
        |told| {
            told.assert_error(400, "INVALID_REQUEST");
        },
    ),
    row(
        "2.limit",
        |w| w.ask(Ask::get("/executions?limit=ten")),
        |told| {
            told.assert_error(400, "invalid_request");
        },
    ),
    row(
        "2.missing",
        |w| w.ask(Ask::get("/executions/0123456789abcdef0123456789abcdef/status")),
        |told| {
            told.assert_error(404, "NOT_FOUND");
        },
    ),
    row(
        "2.conflict",
        |w| w.ask(Ask::post("/users/create", json!({"email": "viewer@acme.test", "role": "viewer"}))),
        |told| {
            told.assert_error(409, "CONFLICT");
        },
    ),
    scene("2.unexpected", |_| {
        let mut server = Server::start();
        let preset = json!({"email": "spoilt@acme.test", "role": "viewer", "api_key": "a-preset-key-of-24-characters"});
        let create = Ask::post("/users/create", preset).key(crate::harness::KEY);
        let token = create.send(server.address()).json()["claim_token"].as_str().unwrap().to_owned();
        server.crash();
        // What waits to be fetched was spoilt: nobody can help that.
        sqlite(&server, "UPDATE users SET claim_sealed_key = x'00' WHERE email = 'spoilt@acme.test';");
        server.restart();
        Ask::get(format!("/claim/{token}")).send(server.address()).assert_error(500, "INTERNAL_ERROR");
    }),
    scene("2.store", |_| {
        let server = Server::start();
        let key = crate::harness::KEY;
        // Another process that does not let go of the database.
        let mut shell = locked(&server);
        let told = Ask::post("/run", json!({"command": "true"})).key(key).send(server.address());
        shell.kill().unwrap();
        shell.wait().unwrap();
        told.assert_error(503, "DATABASE_ERROR");
        assert!(told.header("retry-after").is_some(), "{told:?}");
    }),
    scene("2.draining", |_| {
        use std::io::{Read as _, Write as _};

        let server = Server::start();
        let ask = Ask::post("/run", json!({"command": "true"})).key(crate::harness::KEY);
        let bytes = ask.header("Expect", "100-continue").bytes(server.address());
        let (head, body) = bytes.split_at(bytes.len() - r#"{"command":"true"}"#.len());
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        stream.write_all(head).unwrap();
        // The server asks for the body: the request is under way.
        let mut goes_on = [0; 25];
        stream.read_exact(&mut goes_on).unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        signal(server.pid(), "TERM");
        until("it takes nobody else", || std::net::TcpStream::connect(server.address()).is_err());
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        super::ask::Told::parse(&answer, false).assert_error(503, "SERVICE_UNAVAILABLE");
    }),
];

fn sqlite(server: &Server, statement: &str) {
    let database = server.data_dir().join("runvoy.db");
    let done = std::process::Command::new("sqlite3")
        .arg("-cmd")
        .arg(".timeout 10000")
        .arg(database)
        .arg(statement)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", crate::harness::stderr(&done));
}

/// A process that has the database to itself for writing, until it is killed.
fn locked(server: &Server) -> std::process::Child {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;

    let mut shell = std::process::Command::new("sqlite3")
        .arg(server.data_dir().join("runvoy.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b".timeout 10000\nBEGIN IMMEDIATE;\nSELECT 'locked';\n").unwrap();
    input.flush().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    shell.stdin = Some(input);
    shell
}
