//! Traces over HTTP: what the log says of a request, and what the request was about.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::id::{RequestId, Role};
use runvoy_core::port::{AuditEvent, StoreError, TraceLevel, TraceLine};
use runvoy_core::testing::mocks::MockTraceLog;
use runvoy_local::memory::MemoryTraceLog;
use serde_json::{Value, json};

use super::server::{Answer, Server, key};

fn request_of(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

async fn trace(server: &Server, request: &str) -> Value {
    let answer = server.get(&format!("/trace/{request}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

fn related(trace: &Value, kind: &str) -> usize {
    trace["related_resources"][kind].as_array().unwrap().len()
}

#[tokio::test]
async fn a_request_is_traced_to_what_it_started_killed_and_was_denied() {
    let server = Server::manual().await;
    let body = r#"{"command":"true","lock":"infra"}"#;
    let run = server.ask(Method::POST, "/run", body).await;
    let id = run.json()["execution_id"].as_str().unwrap().to_owned();
    let of_run = trace(&server, &request_of(&run)).await;
    assert_eq!(of_run["logs"], Value::Null, "this server keeps no log");
    let execution = &of_run["related_resources"]["executions"][0];
    assert_eq!((&execution["execution_id"], &execution["command"]), (&id.as_str().into(), &"true".into()));
    assert_eq!(execution["created_by_request_id"], request_of(&run));

    let denied = server
        .ask_as(Some(&key(Role::Viewer)), Method::GET, &format!("/executions/{id}"), Body::empty())
        .await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert_eq!(related(&trace(&server, &request_of(&denied)).await, "executions"), 1);

    // The execution is not what was asked about, but what was changed.
    let forced = server.ask(Method::DELETE, "/locks/infra", Body::empty()).await;
    assert_eq!(forced.status, StatusCode::OK);
    let of_forced = trace(&server, &request_of(&forced)).await;
    assert_eq!(of_forced["related_resources"]["locks"], json!([{"name": "infra"}]));
    assert_eq!(of_forced["related_resources"]["executions"][0]["execution_id"], id.as_str());

    let listed = server.get("/executions").await;
    assert_eq!(related(&trace(&server, &request_of(&listed)).await, "executions"), 0);
}

#[tokio::test]
async fn people_secrets_and_images_are_told_too() {
    let server = Server::new().await;
    let request = RequestId::random();
    for resource in
        ["user:developer@acme.test", "user:gone@acme.test", "secret:db", "image:alpine:3", "system", "???"]
    {
        let event = AuditEvent {
            request_id: request,
            resource: resource.to_owned(),
            ..runvoy_core::testing::audit_log::some_event()
        };
        server.ports.audit.append(event).await.unwrap();
    }
    let related = trace(&server, &request.to_string()).await["related_resources"].clone();
    assert_eq!(related["users"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&related["users"][0]["email"], &related["users"][0]["role"]),
        (&"developer@acme.test".into(), &"developer".into())
    );
    assert_eq!(related["secrets"], json!([{"name": "db"}]));
    assert_eq!(related["images"], json!([{"image": "alpine:3"}]));
}

#[tokio::test]
async fn the_lines_of_the_log_are_told_and_an_unknown_request_has_none() {
    let log = Arc::new(MemoryTraceLog::default());
    let port = Arc::clone(&log);
    let server = Server::with(|ports| ports.trace = Some(port)).await;
    let request = RequestId::from_u128(7);
    for (second, message) in [(1, "first"), (2, "second")] {
        let at = jiff::Timestamp::from_second(second).unwrap();
        log.write(Some(request), TraceLine { at, level: TraceLevel::Warn, message: message.to_owned() });
    }
    let lines = trace(&server, &request.to_string()).await["logs"].clone();
    let expected = json!([
        {"event_id": format!("{request}-000000"), "timestamp": 1000, "level": "warn", "message": "first"},
        {"event_id": format!("{request}-000001"), "timestamp": 2000, "level": "warn", "message": "second"},
    ]);
    assert_eq!(lines, expected);
    for unknown in ["0123456789abcdef0123456789abcdef", "unknown", "x%2Fy"] {
        let trace = trace(&server, unknown).await;
        assert_eq!(related(&trace, "executions"), 0);
        assert!(trace["logs"].as_array().is_none_or(Vec::is_empty), "{trace}");
    }
}

#[tokio::test]
async fn who_looks_into_the_log_is_recorded() {
    let server = Server::new().await;
    let request = RequestId::from_u128(7).to_string();
    trace(&server, &request).await;
    let audit = server.get("/audit?action=read_trace").await.text;
    assert!(audit.contains(&request) && audit.contains("admin@acme.test"), "{audit}");
}

#[tokio::test]
async fn a_log_that_is_down_is_no_empty_log() {
    let mut log = MockTraceLog::new();
    log.expect_read().returning(|_, _| Err(StoreError::unavailable("the wire is cut")));
    let server = Server::with(|ports| ports.trace = Some(Arc::new(log))).await;
    let answer = server.get(&format!("/trace/{}", RequestId::random())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.text.contains("wire"), "{}", answer.text);
}
