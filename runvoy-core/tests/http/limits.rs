//! Every limit and every kind of bad input: the documented status and body, nothing started, nothing stored.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use runvoy_core::id::Role;
use serde_json::{Value, json};

use super::server::{Server, key};

/// A body of `POST /run` and what its refusal has to name.
fn bad_runs() -> Vec<(Value, &'static [&'static str])> {
    let many: serde_json::Map<String, Value> = (0..101).map(|n| (format!("V{n}"), json!("x"))).collect();
    vec![
        (json!({}), &["command", "required"]),
        (json!({"command": ""}), &["command", "empty"]),
        (json!({"command": " \n"}), &["command", "empty"]),
        (json!({"args": []}), &["args", "empty"]),
        (json!({"args": [""]}), &["args", "empty"]),
        (json!({"command": "a", "args": ["a"]}), &["not both"]),
        (json!({"command": "a\u{0}b"}), &["command", "NUL"]),
        (json!({"command": "x".repeat(65_537)}), &["command", "65536", "65537"]),
        (json!({"args": ["x".repeat(65_536)]}), &["args", "65536", "65537"]),
        (json!({"command": "a", "env": many}), &["env", "100", "101"]),
        (json!({"command": "a", "env": {"A": "x".repeat(32_768)}}), &["env", "32768", "32769"]),
        (json!({"command": "a", "env": {"1A": "x"}}), &["env", "1A"]),
        (json!({"command": "a", "env": {"A B": "x"}}), &["env", "A B"]),
        (json!({"command": "a", "env": {"": "x"}}), &["env"]),
        (json!({"command": "a", "env": {"A": "x\u{0}"}}), &["env", "NUL"]),
        (json!({"command": "a", "env": {"RUNVOY_USER": "x"}}), &["env", "RUNVOY_USER"]),
        (json!({"command": "a", "env": {"RUNVOY_LOCK_TOKEN": "x"}}), &["env", "RUNVOY_LOCK_TOKEN"]),
        (json!({"command": "a", "timeout": 0}), &["timeout", "0"]),
        (json!({"command": "a", "timeout": 604_801}), &["timeout", "604800", "604801"]),
        (json!({"command": "a", "grace": 3601}), &["grace", "3600", "3601"]),
        (json!({"command": "a", "stop_signal": "STOP"}), &["stop_signal", "TERM"]),
        (json!({"command": "a", "secrets": ["gh"]}), &["secrets"]),
        (json!({"args": ["echo", "'".repeat(40_000)]}), &["args", "130048"]),
        (json!({"command": "a", "lock": "../prod"}), &["lock", "128"]),
        (json!({"command": "a", "lock": "x".repeat(129)}), &["lock", "128"]),
        (json!({"command": "a", "lock": "prod", "on_lock_held": "wait"}), &["on_lock_held", "queue"]),
        (json!({"command": "a", "lock": "prod", "max_wait": 604_801}), &["max_wait", "604800", "604801"]),
        (json!({"command": "a", "git_repo": "git@example.test:a.git"}), &["git_repo", "SSH"]),
        (json!({"command": "a", "code": "00"}), &["code", "64 lower-case hex digits"]),
        (json!({"command": "a", "code": "0".repeat(64)}), &["code", "000000000000", "upload it again"]),
        (
            json!({"command": "a", "code": "0".repeat(64), "git_repo": "https://a.test/b"}),
            &["code", "not both"],
        ),
        (json!({"command": "a", "cpu": 256}), &["cpu"]),
        (json!({"command": "a", "memory": 512}), &["memory"]),
        (json!({"command": "a", "network": "none"}), &["network"]),
    ]
}

#[tokio::test]
async fn a_run_that_breaks_a_limit_is_refused_by_name() {
    let server = Server::new().await;
    for (body, names) in bad_runs() {
        let answer = server.ask(Method::POST, "/run", body.to_string()).await;
        let shown: String = body.to_string().chars().take(80).collect();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}: {}", answer.text);
        let error = answer.json();
        assert_eq!(error["code"], "INVALID_REQUEST", "{shown}");
        for name in names {
            assert!(
                error["details"].as_str().unwrap().contains(name),
                "{shown}: {} lacks {name}",
                answer.text
            );
        }
    }
    assert_eq!(server.executions().await, 0);
}

#[tokio::test]
async fn a_run_at_each_limit_is_accepted() {
    let server = Server::new().await;
    let env: serde_json::Map<String, Value> = (0..100).map(|n| (format!("V{n:02}"), json!("x"))).collect();
    let good = [
        json!({"command": "x".repeat(65_536)}),
        json!({"command": "a", "env": env}),
        json!({"command": "a", "env": {"A": "x".repeat(32_767)}}),
        json!({"command": "a", "timeout": 604_800, "grace": 3600, "stop_signal": "SIGINT"}),
        json!({"command": "a", "image": "an image means nothing to this executor"}),
        json!({"command": "a", "env": null, "secrets": null, "unknown": {"field": 1}}),
        json!({"args": ["a", "", "b c"]}),
    ];
    for body in &good {
        let answer = server.ask(Method::POST, "/run", body.to_string()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    }
    assert_eq!(server.executions().await, good.len());
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused() {
    let server = Server::new().await;
    for body in
        ["", "{", "null", "[]", "\"x\"", r#"{"command": 7}"#, r#"{"command": "a", "env": []}"#, "\u{feff}"]
    {
        let answer = server.ask(Method::POST, "/run", body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json()["error"], "invalid request body", "{body}");
    }
    // Existing clients may send something after the value.
    let answer = server.ask(Method::POST, "/run", r#"{"command":"true"} trailing"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(server.executions().await, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_its_size() {
    let server = Server::new().await;
    let size = 1024 * 1024 + 1;
    let answer = server.ask(Method::POST, "/run", "x".repeat(size)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let details = answer.json()["details"].as_str().unwrap().to_owned();
    assert!(details.contains("1048576"), "{details}");
    let declared = Request::post("/api/v1/run")
        .header("X-API-Key", key(Role::Admin))
        .header("Content-Length", size)
        .body(Body::from("x".repeat(size)))
        .unwrap();
    let answer = server.send(declared).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text.contains(&size.to_string()), "{}", answer.text);
    assert_eq!(server.executions().await, 0);
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let server = Server::new().await;
    let id = server.run("true").await;
    let unknown = "0123456789abcdef0123456789abcdef";
    let not_found = [
        format!("/executions/{unknown}"),
        format!("/executions/{unknown}/status"),
        format!("/executions/{unknown}/logs"),
        format!("/executions/{unknown}/logs?limit=1"),
        format!("/executions/{unknown}/logs/stream"),
        "/executions/short".to_owned(),
        "/executions/ABCDEF0123".to_owned(),
        format!("/executions/{id}/nothing"),
        "/nothing".to_owned(),
        "/executions/a%2Fb".to_owned(),
    ];
    for path in &not_found {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
        assert_eq!(answer.json()["code"], "NOT_FOUND", "{path}");
    }
    let answer = server.ask(Method::DELETE, &format!("/executions/{unknown}"), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    // A prefix that is long enough names it.
    assert_eq!(server.get(&format!("/executions/{}", &id[..6])).await.json()["execution_id"], id.as_str());
}

#[tokio::test]
async fn bad_queries_are_refused() {
    let server = Server::new().await;
    let id = server.run("true").await;
    let bad = [
        ("/executions?limit=-1".to_owned(), "invalid_request"),
        ("/executions?limit=x".to_owned(), "invalid_request"),
        ("/executions?limit=1001".to_owned(), "invalid_request"),
        ("/executions?user=nobody".to_owned(), "invalid_request"),
        ("/executions?since=yesterday".to_owned(), "invalid_request"),
        (format!("/executions/{id}?wait=21"), "invalid_request"),
        (format!("/executions/{id}/logs?limit=0"), "invalid_request"),
        (format!("/executions/{id}/logs?limit=1001"), "invalid_request"),
        (format!("/executions/{id}/logs?wait=21"), "invalid_request"),
        (format!("/executions/{id}/logs?tail=-1"), "invalid_request"),
        (format!("/executions/{id}/logs?after=999999"), "INVALID_REQUEST"),
        (format!("/executions/{id}/logs?after=what"), "INVALID_REQUEST"),
        (format!("/executions/{id}/logs?after=a%20b"), "INVALID_REQUEST"),
        (format!("/executions/{id}/logs/stream?after=999999"), "INVALID_REQUEST"),
        (format!("/executions/{id}/logs/stream?format=xml"), "invalid_request"),
    ];
    for (path, code) in &bad {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.text);
        assert_eq!(answer.json()["code"], *code, "{path}");
    }
    let answer = server.ask(Method::DELETE, &format!("/executions/{id}"), r#"{"grace": 3601}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
}

#[tokio::test]
async fn an_idempotency_key_has_a_form() {
    let server = Server::new().await;
    for bad in [" ", "a b", &"x".repeat(256)] {
        let request = Request::post("/api/v1/run")
            .header("X-API-Key", key(Role::Admin))
            .header("Idempotency-Key", bad)
            .body(Body::from(r#"{"command":"true"}"#))
            .unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(answer.text.contains("Idempotency-Key"));
    }
    assert_eq!(server.executions().await, 0);
}

#[tokio::test]
async fn as_many_executions_are_live_as_configured() {
    let server = Server::with(|ports| {
        ports.config.max_live = Some(2);
        ports.config.max_live_per_user = Some(1);
    })
    .await;
    server.run("true").await;
    let body = r#"{"command":"true"}"#;
    let answer = server.ask(Method::POST, "/run", body).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json()["code"], "TOO_MANY_EXECUTIONS");
    assert!(answer.headers.contains_key("retry-after"));
    let developer = key(Role::Developer);
    assert_eq!(
        server.ask_as(Some(&developer), Method::POST, "/run", body).await.status,
        StatusCode::ACCEPTED
    );
    let operator = key(Role::Operator);
    let answer = server.ask_as(Some(&operator), Method::POST, "/run", body).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.text.contains("on this server"), "{}", answer.text);
    assert_eq!(server.executions().await, 2);
}

#[tokio::test]
async fn the_greeting_greets() {
    let server = Server::new().await;
    let answer = server.ask_as(None, Method::GET, "/greet/Ada%20L", Body::empty()).await;
    assert_eq!(
        (answer.status, answer.json()["message"].as_str().unwrap()),
        (StatusCode::OK, "Hello, Ada L!")
    );
    let long = format!("/greet/{}", "x".repeat(101));
    assert_eq!(server.ask_as(None, Method::GET, &long, Body::empty()).await.status, StatusCode::BAD_REQUEST);
}
