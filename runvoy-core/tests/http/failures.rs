//! A port that does not answer is 503, never "not found" or "unauthorized"; nothing is half done.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::{Method, StatusCode};
use jiff::Timestamp;
use runvoy_core::Error;
use runvoy_core::claim::ClaimToken;
use runvoy_core::clock::Clock as _;
use runvoy_core::id::{RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{
    AuthorizerError, ExecutorError, KeyRecord, ListQuery, LogError, NewClaim, StoreError, User,
};
use runvoy_core::state::Status;
use runvoy_core::testing::mocks::{
    MockAuditLog, MockAuthorizer, MockExecutionStore, MockExecutor, MockKeyStore, MockLockManager,
    MockLogSource,
};
use runvoy_local::memory::MemoryKeyStore;

use super::server::{Answer, Server, key};

const ID: &str = "0123456789abcdef0123456789abcdef";
const HOLDS: &str = r#"{"command":"true","lock":"infra/prod"}"#;
const WAITS: &str = r#"{"command":"true","lock":"infra/prod","on_lock_held":"queue"}"#;

fn down() -> StoreError {
    StoreError::unavailable("the wire is cut")
}

async fn assert_down(server: &Server, method: Method, path: &str, code: &str) {
    let body = if method == Method::POST { r#"{"command":"true"}"# } else { "" };
    let answer = server.ask(method.clone(), path, body).await;
    assert_is_down(&answer, &format!("{method} {path}"), code);
}

fn assert_is_down(answer: &Answer, asked: &str, code: &str) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{asked}: {}", answer.text);
    assert_eq!(answer.json()["code"], code, "{asked}");
    assert!(answer.headers.contains_key("retry-after"));
    assert!(!answer.text.contains("wire"), "a cause is for the log alone: {}", answer.text);
}

#[tokio::test]
async fn a_key_store_that_is_down_is_no_unknown_key() {
    let mut keys = MockKeyStore::new();
    keys.expect_find().returning(|_| Err(down()));
    let server = Server::with(|ports| ports.keys = Arc::new(keys)).await;
    for (method, path) in [(Method::GET, "/me"), (Method::POST, "/run"), (Method::GET, "/nothing/of/this")] {
        if path == "/nothing/of/this" {
            assert_eq!(server.ask(method, path, Body::empty()).await.status, StatusCode::NOT_FOUND);
        } else {
            assert_down(&server, method, path, "DATABASE_ERROR").await;
        }
    }
    assert_down(&server, Method::GET, "/executions/x/y", "DATABASE_ERROR").await;
}

#[tokio::test]
async fn a_key_store_that_is_down_is_no_unknown_token_or_user() {
    let admin = "admin@acme.test".parse().unwrap();
    let user = User::new(admin, Role::Admin, Timestamp::UNIX_EPOCH, RequestId::from_u128(1));
    let mut keys = MockKeyStore::new();
    keys.expect_find().returning(move |_| Ok(Some(KeyRecord { user: user.clone() })));
    keys.expect_user().returning(|_| Err(down()));
    keys.expect_list().returning(|| Err(down()));
    keys.expect_pending().returning(|_| Err(down()));
    let server = Server::with(|ports| ports.keys = Arc::new(keys)).await;
    assert_down(&server, Method::GET, "/users", "DATABASE_ERROR").await;
    assert_down(&server, Method::GET, "/claim/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "DATABASE_ERROR").await;
    for path in ["/users/create", "/users/revoke", "/users/rotate"] {
        let body = r#"{"email":"dev@acme.test","role":"viewer"}"#;
        let answer = server.ask(Method::POST, path, body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_execution_store_that_is_down_is_no_missing_execution() {
    let mut executions = MockExecutionStore::new();
    executions.expect_get().returning(|_| Err(down()));
    executions.expect_find().returning(|_| Err(down()));
    executions.expect_list().returning(|_| Err(down()));
    executions.expect_create().returning(|_| Err(down()));
    let server = Server::with(|ports| ports.executions = Arc::new(executions)).await;
    for rest in ["", "/status", "/why", "/logs", "/logs?limit=1", "/logs/stream"] {
        assert_down(&server, Method::GET, &format!("/executions/{ID}{rest}"), "DATABASE_ERROR").await;
    }
    assert_down(&server, Method::GET, "/executions/012345", "DATABASE_ERROR").await;
    assert_down(&server, Method::DELETE, &format!("/executions/{ID}"), "DATABASE_ERROR").await;
    assert_down(&server, Method::GET, "/executions", "DATABASE_ERROR").await;
    assert_down(&server, Method::POST, "/run", "DATABASE_ERROR").await;
}

#[tokio::test]
async fn a_lock_manager_that_is_down_is_no_free_lock() {
    let mut locks = MockLockManager::new();
    locks.expect_show().returning(|_| Err(down()));
    locks.expect_list().returning(|| Err(down()));
    locks.expect_command().returning(|_, _, _| Err(down()));
    let server = Server::manual_with(|ports| ports.locks = Arc::new(locks)).await;
    for path in ["/locks", "/locks/infra%2Fprod"] {
        assert_down(&server, Method::GET, path, "DATABASE_ERROR").await;
    }
    for path in ["/locks/infra%2Fprod", "/locks/infra%2Fprod?abandon=true"] {
        assert_down(&server, Method::DELETE, path, "DATABASE_ERROR").await;
    }
    // Who asks again with the same key asks about the same execution, which waits until somebody can tell for what.
    for _ in 0..2 {
        let request = http::Request::post("/api/v1/run")
            .header("X-API-Key", key(Role::Admin))
            .header("Idempotency-Key", "again")
            .body(Body::from(HOLDS))
            .unwrap();
        assert_is_down(&server.send(request).await, "POST /run with a lock", "DATABASE_ERROR");
    }
    let all = ListQuery { limit: 10, ..ListQuery::default() };
    let recorded = server.ports.executions.list(&all).await.unwrap().executions;
    let statuses: Vec<_> = recorded.iter().map(|record| record.status).collect();
    assert_eq!(statuses, [Status::Queued]);
    assert_down(&server, Method::GET, &format!("/executions/{}", recorded[0].id), "DATABASE_ERROR").await;
    assert_eq!(server.manual.pending().len(), 0, "nothing starts without its lock");
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_read_is_no_empty_one() {
    let mut audit = MockAuditLog::new();
    audit.expect_read().returning(|_, _| Err(down()));
    audit.expect_head().returning(|| Err(down()));
    audit.expect_checkpoints().returning(|| Ok(Vec::new()));
    let server = Server::with(|ports| ports.audit = Arc::new(audit)).await;
    for path in ["/audit", "/audit?user=admin@acme.test", "/audit/head", "/audit/verify"] {
        assert_down(&server, Method::GET, path, "DATABASE_ERROR").await;
    }
}

/// Everything that a request could change, but for the audit log.
async fn state(server: &Server, claim: &str) -> impl PartialEq + Debug + use<> {
    let (ports, all) = (&server.ports, ListQuery { limit: 100, ..ListQuery::default() });
    let executions = ports.executions.list(&all).await.unwrap().executions;
    let stops: Vec<_> = executions.iter().map(|record| server.manual.stops(record.id)).collect();
    let developer = ApiKey::parse(&key(Role::Developer)).unwrap().hash();
    (
        (executions, stops, server.manual.pending().len()),
        ports.locks.list().await.unwrap(),
        ports.keys.list().await.unwrap(),
        ports.keys.find(&developer).await.unwrap().map(|found| found.user),
        ports.keys.pending(&ClaimToken::parse(claim).unwrap().hash()).await.unwrap(),
    )
}

#[tokio::test]
async fn nothing_happens_that_cannot_be_audited() {
    let is_down = Arc::new(AtomicBool::new(false));
    let mut audit = MockAuditLog::new();
    let asked = Arc::clone(&is_down);
    audit.expect_append().returning(move |_| if asked.load(Ordering::SeqCst) { Err(down()) } else { Ok(1) });
    let server = Server::manual_with(|ports| ports.audit = Arc::new(audit)).await;
    let post = async |path: &str, body: &'static str| {
        let answer = server.ask(Method::POST, path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        answer.json()
    };
    let id = |answer: serde_json::Value| answer["execution_id"].as_str().unwrap().to_owned();
    let holder = id(post("/run", HOLDS).await);
    for task in server.manual.pending() {
        assert!(server.manual.claim(task.task));
    }
    server.settle().await;
    let waiter = id(post("/run", WAITS).await);
    let invited = post("/users/create", r#"{"email":"new@acme.test","role":"viewer"}"#).await;
    let token = invited["claim_token"].as_str().unwrap();

    let requests = [
        (Method::POST, "/run".to_owned(), r#"{"command":"true"}"#),
        (Method::GET, format!("/executions/{holder}/logs?limit=1"), ""),
        (Method::DELETE, format!("/executions/{waiter}"), ""),
        (Method::DELETE, format!("/executions/{holder}"), ""),
        (Method::DELETE, "/locks/infra%2Fprod".to_owned(), ""),
        (Method::DELETE, "/locks/infra%2Fprod?abandon=true".to_owned(), ""),
        (Method::POST, "/users/create".to_owned(), r#"{"email":"other@acme.test","role":"viewer"}"#),
        (Method::POST, "/users/rotate".to_owned(), r#"{"email":"developer@acme.test"}"#),
        (Method::POST, "/users/revoke".to_owned(), r#"{"email":"developer@acme.test"}"#),
        (Method::GET, format!("/claim/{token}"), ""),
    ];
    let before = state(&server, token).await;
    is_down.store(true, Ordering::SeqCst);
    for (method, path, body) in &requests {
        let answer = server.ask(method.clone(), path, *body).await;
        assert_is_down(&answer, &format!("{method} {path}"), "DATABASE_ERROR");
        assert_eq!(state(&server, token).await, before, "{method} {path} had an effect");
    }
    // That was all that was in their way.
    is_down.store(false, Ordering::SeqCst);
    for (method, path, body) in &requests {
        let answer = server.ask(method.clone(), path, *body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
    }
    assert_ne!(state(&server, token).await, before);
}

#[tokio::test]
async fn nobody_is_made_or_dropped_without_a_record() {
    let audit = || {
        let mut audit = MockAuditLog::new();
        audit.expect_append().returning(|_| Err(down()));
        Arc::new(audit)
    };
    let empty = Server::with(|ports| {
        ports.audit = audit();
        ports.keys = Arc::new(MemoryKeyStore::new());
    })
    .await;
    let made = empty.runvoy.bootstrap_admin("admin@acme.test".parse().unwrap(), &ApiKey::generate()).await;
    assert!(matches!(made, Err(Error::Unavailable { .. })), "{made:?}");
    assert_eq!(empty.ports.keys.list().await.unwrap(), []);

    let server = Server::with(|ports| ports.audit = audit()).await;
    let (email, now) = ("new@acme.test".parse().unwrap(), server.clock.now());
    let user = User::new(email, Role::Viewer, now, RequestId::random());
    let claim = NewClaim { token: ClaimToken::generate().hash(), until: now, sealed: None };
    server.ports.keys.invite(user.clone(), claim, now).await.unwrap();
    let kept = server.runvoy.keep_people().await;
    assert!(matches!(kept, Err(Error::Unavailable { .. })), "{kept:?}");
    assert!(server.ports.keys.user(&user.email).await.unwrap().is_some());
}

#[tokio::test]
async fn an_authorizer_that_cannot_decide_allows_nothing_and_denies_nothing() {
    let mut authorizer = MockAuthorizer::new();
    authorizer.expect_decide().returning(|_, _, _, _| {
        Err(AuthorizerError {
            what: "policies unreadable".to_owned(),
            source: Some("the wire is cut".into()),
        })
    });
    let server = Server::with(|ports| ports.authorizer = Arc::new(authorizer)).await;
    assert_down(&server, Method::POST, "/run", "SERVICE_UNAVAILABLE").await;
    assert_down(&server, Method::GET, "/executions", "SERVICE_UNAVAILABLE").await;
}

#[tokio::test]
async fn an_executor_that_takes_nothing_is_asked_before_anything_is_stored() {
    let mut executor = MockExecutor::new();
    executor.expect_capabilities().returning(Default::default);
    executor
        .expect_admit()
        .returning(|| Err(ExecutorError::unavailable_of("the engine room", "the wire is cut")));
    let server = Server::with(|ports| ports.executor = Arc::new(executor)).await;
    assert_down(&server, Method::POST, "/run", "SERVICE_UNAVAILABLE").await;
    let told = server.ask(Method::POST, "/run", r#"{"command":"true"}"#).await;
    assert!(told.text.contains("the engine room is not available"), "{}", told.text);
    assert_eq!(server.executions().await, 0);
}

#[tokio::test]
async fn an_executor_that_fails_after_the_record_leaves_the_execution_to_be_mended() {
    let mut executor = MockExecutor::new();
    executor.expect_capabilities().returning(Default::default);
    executor.expect_admit().returning(|| Ok(()));
    executor.expect_start().times(1).returning(|_| Err(ExecutorError::unavailable("the wire is cut")));
    let server = Server::with(|ports| ports.executor = Arc::new(executor)).await;
    let id = server.run("true").await;
    assert_eq!(server.get(&format!("/executions/{id}/status")).await.json()["status"], "STARTING");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_no_empty_log() {
    let mut logs = MockLogSource::new();
    logs.expect_read_after().returning(|_, _, _| Err(LogError::unavailable("the wire is cut")));
    let server = Server::with(|ports| ports.logs = Arc::new(logs)).await;
    let id = server.run("true").await;
    assert_down(&server, Method::GET, &format!("/executions/{id}/logs?limit=1"), "SERVICE_UNAVAILABLE").await;
    assert_down(&server, Method::GET, &format!("/executions/{id}/logs/stream"), "SERVICE_UNAVAILABLE").await;
}

#[tokio::test]
async fn a_draining_server_takes_nothing_new_and_goes_on_answering() {
    let server = Server::new().await;
    let id = server.run("true").await;
    server.runvoy.drain();
    assert_down(&server, Method::POST, "/run", "SERVICE_UNAVAILABLE").await;
    assert_eq!(server.get(&format!("/executions/{id}")).await.status, StatusCode::OK);
}
