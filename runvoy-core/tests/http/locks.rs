//! Locks over HTTP: what is told to those who hold, wait and are turned away.

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::id::Role;
use serde_json::Value;

use super::server::{Answer, Server, key};

const HOLDS: &str = r#"{"command":"true","lock":"infra/prod"}"#;
const WAITS: &str = r#"{"command":"true","lock":"infra/prod","on_lock_held":"queue"}"#;

async fn run(server: &Server, role: Role, body: &'static str) -> Answer {
    server.ask_as(Some(&key(role)), Method::POST, "/run", body).await
}

fn id(answer: &Answer) -> String {
    answer.json()["execution_id"].as_str().unwrap().to_owned()
}

async fn record(server: &Server, id: &str) -> Value {
    server.get(&format!("/executions/{id}")).await.json()
}

#[tokio::test]
async fn who_holds_it_and_who_waits_is_told_to_all() {
    let server = Server::manual().await;
    let holder = run(&server, Role::Admin, HOLDS).await;
    assert_eq!((holder.status, &holder.json()["status"]), (StatusCode::ACCEPTED, &"STARTING".into()));

    let refused = run(&server, Role::Developer, HOLDS).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json()["code"], "LOCK_HELD");
    assert_eq!(refused.json()["holder"]["execution_id"], id(&holder));
    assert_eq!(refused.json()["holder"]["user"], "admin@acme.test");
    assert!(refused.json()["holder"]["since"].is_string());

    let mut waiters = Vec::new();
    for position in 1..=2 {
        let waiter = run(&server, Role::Developer, WAITS).await;
        assert_eq!((waiter.status, &waiter.json()["status"]), (StatusCode::ACCEPTED, &"QUEUED".into()));
        assert_eq!(waiter.json()["position"], position);
        assert_eq!(waiter.json()["holder"]["execution_id"], id(&holder));
        waiters.push(id(&waiter));
    }
    let lock = server.get("/locks/infra%2Fprod").await.json();
    assert_eq!((&lock["name"], &lock["token"]), (&"infra/prod".into(), &1.into()));
    assert_eq!(lock["waiters"][1]["execution_id"], waiters[1].as_str());
    assert_eq!(server.get("/locks").await.json()["locks"], Value::Array(vec![lock]));
    let listed = server.get("/executions?lock=infra/prod&status=QUEUED").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(server.get("/executions?lock=other").await.json(), Value::Array(vec![]));

    // Who leaves the line makes room in it.
    let gone = server.ask(Method::DELETE, &format!("/executions/{}", waiters[0]), "").await;
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(record(&server, &waiters[0]).await["status"], "STOPPED");
    assert_eq!(record(&server, &waiters[1]).await["position"], 1);
}

#[tokio::test]
async fn a_lock_that_was_not_to_be_had_frees_the_idempotency_key() {
    let server = Server::manual().await;
    let holder = id(&run(&server, Role::Admin, HOLDS).await);
    let ask = async || {
        let request = http::Request::post("/api/v1/run")
            .header("X-API-Key", key(Role::Developer))
            .header("Idempotency-Key", "again")
            .body(Body::from(HOLDS))
            .unwrap();
        server.send(request).await
    };
    assert_eq!(ask().await.status, StatusCode::CONFLICT);
    server.ask(Method::DELETE, &format!("/executions/{holder}"), "").await;
    let taken = ask().await;
    assert_eq!((taken.status, &taken.json()["status"]), (StatusCode::ACCEPTED, &"STARTING".into()));
    assert_eq!(id(&ask().await), id(&taken), "from then on it is the same");
}

#[tokio::test]
async fn a_lock_is_taken_by_force_from_who_holds_it() {
    let server = Server::manual().await;
    let holder = id(&run(&server, Role::Developer, HOLDS).await);
    let waiter = id(&run(&server, Role::Developer, WAITS).await);
    let answer = server.ask(Method::DELETE, "/locks/infra%2Fprod", "").await;
    assert_eq!(answer.json()["holder"]["execution_id"], holder.as_str());
    // Its task had not claimed the command, so it can never run.
    assert_eq!(record(&server, &holder).await["status"], "STOPPED");
    let next = record(&server, &waiter).await;
    assert_eq!((&next["status"], &next["lock"]["token"]), (&"STARTING".into(), &2.into()));

    let late = id(&run(&server, Role::Developer, WAITS).await);
    let answer = server.ask(Method::DELETE, "/locks/infra%2Fprod?abandon=true", "").await;
    assert_eq!(answer.json()["holder"]["execution_id"], waiter.as_str());
    assert_eq!(record(&server, &waiter).await["lock"]["abandoned_by"], "admin@acme.test");
    assert_eq!(record(&server, &late).await["lock"]["after_abandoned"], waiter.as_str());
    assert_eq!(record(&server, &waiter).await["status"], "STARTING", "it was not stopped");
    for (action, from) in [("release_lock", &holder), ("abandon_lock", &waiter)] {
        let told = server.get(&format!("/audit?action={action}")).await.json();
        assert_eq!(
            [&told["kind"], &told["user"], &told["resource"], &told["detail"]],
            ["allowed", "admin@acme.test", "lock:infra/prod", &format!("held by execution {from}")]
        );
    }
    let bad = server.ask(Method::DELETE, "/locks/infra%2Fprod?abandon=maybe", "").await;
    assert_eq!((bad.status, &bad.json()["code"]), (StatusCode::BAD_REQUEST, &"invalid_request".into()));
    assert_eq!(server.get("/locks/..%2Fprod").await.status, StatusCode::BAD_REQUEST);
}

/// A wait is its user's, as a running command is: with a rotation nobody loses their place. What a leaked key put there
/// has to be killed, and can be.
#[tokio::test]
async fn who_waits_goes_on_when_their_key_is_rotated_unless_it_is_killed() {
    let server = Server::manual().await;
    let holder = id(&run(&server, Role::Admin, HOLDS).await);
    let killed = id(&run(&server, Role::Developer, WAITS).await);
    let goes_on = id(&run(&server, Role::Developer, WAITS).await);
    let body = r#"{"email":"developer@acme.test"}"#;
    assert_eq!(server.ask(Method::POST, "/users/rotate", body).await.status, StatusCode::OK);
    let waiting = server.get("/executions?status=QUEUED&user=developer@acme.test").await.json();
    assert_eq!(waiting.as_array().unwrap().len(), 2, "{waiting}");
    assert_eq!(server.ask(Method::DELETE, &format!("/executions/{killed}"), "").await.status, StatusCode::OK);
    server.ask(Method::DELETE, &format!("/executions/{holder}"), "").await;
    assert_eq!(record(&server, &goes_on).await["status"], "STARTING");
    assert_eq!(record(&server, &killed).await["status"], "STOPPED");
}
