//! People: what an admin does to them, and how they come by a key.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use runvoy_core::id::Role;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::server::{Answer, Server, key};

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    server.ask(Method::POST, path, body.to_string()).await
}

async fn invite(server: &Server, email: &str) -> String {
    let answer = post(server, "/users/create", &json!({ "email": email, "role": "developer" })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()["claim_token"].as_str().unwrap().to_owned()
}

async fn claim(server: &Server, token: &str) -> Answer {
    server.ask_as(None, Method::GET, &format!("/claim/{token}"), Body::empty()).await
}

/// The key of a new developer.
async fn join(server: &Server, email: &str) -> String {
    let token = invite(server, email).await;
    let answer = claim(server, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["api_key"].as_str().unwrap().to_owned()
}

async fn me(server: &Server, key: &str) -> Answer {
    server.ask_as(Some(key), Method::GET, "/me", Body::empty()).await
}

#[tokio::test]
async fn a_new_user_claims_a_key_that_opens() {
    let server = Server::new().await;
    let created = post(
        &server,
        "/users/create",
        &json!({ "email": "dev@acme.test", "role": "developer", "expires_in": 3600 }),
    )
    .await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.headers["cache-control"], "no-store");
    let (body, text) = (created.json(), &created.text);
    assert_eq!((&body["user"]["role"], &body["user"]["revoked"]), (&"developer".into(), &false.into()));
    assert!(!text.contains("api_key") && body["user"].get("last_used").is_none(), "{text}");
    let claimed = claim(&server, body["claim_token"].as_str().unwrap()).await;
    let answer = claimed.json();
    assert_eq!(claimed.headers["cache-control"], "no-store");
    assert_eq!(
        (&answer["user_email"], &answer["message"]),
        (&"dev@acme.test".into(), &"API key claimed successfully".into())
    );
    let key = answer["api_key"].as_str().unwrap();
    let who = me(&server, key).await.json();
    assert_eq!((&who["email"], &who["role"]), (&"dev@acme.test".into(), &"developer".into()));
    assert!(who["key_expires_at"].is_string(), "{who}");

    let listed = server.get("/users/").await;
    assert!(!listed.text.contains(key) && !listed.text.contains("api_key"), "{}", listed.text);
    let users = listed.json()["users"].clone();
    let emails: Vec<_> =
        users.as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect();
    assert_eq!(
        emails,
        ["admin@acme.test", "dev@acme.test", "developer@acme.test", "operator@acme.test", "viewer@acme.test"]
    );
    assert!(users[1]["last_used"].is_string(), "the key was used: {}", users[1]);

    assert_eq!(users[1]["key_expired"], false);

    server.clock.advance(Duration::from_hours(1));
    let users = server.get("/users/").await.json()["users"].clone();
    assert_eq!((&users[1]["key_expired"], &users[0]["key_expired"]), (&true.into(), &false.into()));
    let late = me(&server, key).await;
    assert_eq!((late.status, &late.json()["code"]), (StatusCode::UNAUTHORIZED, &"API_KEY_EXPIRED".into()));
}

#[tokio::test]
async fn a_token_works_once_and_for_a_quarter_of_an_hour() {
    let server = Server::new().await;
    let used = invite(&server, "used@acme.test").await;
    let lapsed = invite(&server, "lapsed@acme.test").await;
    assert_eq!(claim(&server, &used).await.status, StatusCode::OK);
    let again = claim(&server, &used).await;
    assert_eq!((again.status, &again.json()["code"]), (StatusCode::CONFLICT, &"CONFLICT".into()));
    server.clock.advance(Duration::from_mins(15));
    for token in [lapsed.as_str(), "no-token", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "%ff"] {
        let answer = claim(&server, token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::NOT_FOUND, &"NOT_FOUND".into()));
        assert!(!answer.text.contains(token), "{}", answer.text);
    }
    let text = server.get("/users").await.text;
    assert!(text.contains("used@acme.test") && !text.contains("lapsed@acme.test"), "{text}");
    let gone = post(&server, "/users/revoke", &json!({ "email": "lapsed@acme.test" })).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    server.runvoy.keep_people().await.unwrap();
    assert_eq!(server.ports.keys.user(&"lapsed@acme.test".parse().unwrap()).await.unwrap(), None);
    invite(&server, "lapsed@acme.test").await;
}

#[tokio::test]
async fn asking_for_the_head_of_a_claim_uses_nothing_up() {
    let server = Server::new().await;
    let token = invite(&server, "dev@acme.test").await;
    let head = server.ask_as(None, Method::HEAD, &format!("/claim/{token}"), Body::empty()).await;
    assert_eq!(
        (head.status, &head.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap())
    );
    assert_eq!(claim(&server, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_preset_key_opens_once_it_is_claimed() {
    let server = Server::new().await;
    let preset = "a-key-somebody-chose-before";
    let body = json!({ "email": "ci@acme.test", "role": "viewer", "api_key": preset });
    let created = post(&server, "/users/create", &body).await;
    assert!(!created.text.contains(preset), "{}", created.text);
    assert_eq!(me(&server, preset).await.json()["code"], "INVALID_API_KEY");
    let answer = claim(&server, created.json()["claim_token"].as_str().unwrap()).await.json();
    assert_eq!(answer["api_key"], preset);
    assert_eq!(me(&server, preset).await.json()["email"], "ci@acme.test");
    let body = json!({ "email": "other@acme.test", "role": "viewer", "api_key": preset });
    assert_eq!(post(&server, "/users/create", &body).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_bad_request_is_refused_by_name_and_changes_nothing() {
    let server = Server::new().await;
    let before = server.get("/users").await.text;
    let bad = [
        (json!({ "email": "Dev <dev@acme.test>", "role": "viewer" }), 400, "email"),
        (json!({ "email": "", "role": "viewer" }), 400, "email"),
        (json!({ "email": "dev@acme.test", "role": "king" }), 400, "role"),
        (json!({ "email": "dev@acme.test" }), 400, "role"),
        (json!({ "email": "dev@acme.test", "role": "viewer", "expires_in": 0 }), 400, "expires_in"),
        (json!({ "email": "dev@acme.test", "role": "viewer", "api_key": "short" }), 400, "api_key"),
        (json!({ "email": "viewer@acme.test", "role": "viewer" }), 409, "exists"),
    ];
    for (body, status, word) in bad {
        let answer = post(&server, "/users/create", &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
        assert!(answer.json()["details"].as_str().unwrap().contains(word), "{body}: {answer:?}");
    }
    for path in ["/users/revoke", "/users/rotate"] {
        assert_eq!(post(&server, path, &json!({ "email": "" })).await.status, StatusCode::BAD_REQUEST);
        let unknown = post(&server, path, &json!({ "email": "nobody@acme.test" })).await;
        assert_eq!((unknown.status, &unknown.json()["code"]), (StatusCode::NOT_FOUND, &"NOT_FOUND".into()));
    }
    assert_eq!(server.get("/users").await.text, before);
}

#[tokio::test]
async fn a_revoked_user_is_told_so_and_stays_known() {
    let server = Server::new().await;
    let dev = join(&server, "dev@acme.test").await;
    for _ in 0..2 {
        let revoked = post(&server, "/users/revoke", &json!({ "email": "dev@acme.test" })).await;
        let expected = json!({ "message": "user API key revoked successfully", "email": "dev@acme.test" });
        assert_eq!((revoked.status, revoked.json()), (StatusCode::OK, expected));
    }
    let answer = me(&server, &dev).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (StatusCode::UNAUTHORIZED, &"API_KEY_REVOKED".into())
    );
    let again = post(&server, "/users/create", &json!({ "email": "dev@acme.test", "role": "viewer" })).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let rotated = post(&server, "/users/rotate", &json!({ "email": "dev@acme.test" })).await;
    assert_eq!(rotated.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_rotated_key_stops_at_once_and_the_next_comes_with_a_claim() {
    let server = Server::new().await;
    let old = join(&server, "dev@acme.test").await;
    // Their own, without an admin.
    let body = json!({ "email": "dev@acme.test" }).to_string();
    let rotated = server.ask_as(Some(&old), Method::POST, "/users/rotate", body).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    assert_eq!(me(&server, &old).await.json()["code"], "INVALID_API_KEY");
    let answer = claim(&server, rotated.json()["claim_token"].as_str().unwrap()).await.json();
    let new = answer["api_key"].as_str().unwrap();
    assert_eq!(me(&server, new).await.json()["email"], "dev@acme.test");

    let other = json!({ "email": "viewer@acme.test" }).to_string();
    let refused = server.ask_as(Some(new), Method::POST, "/users/rotate", other).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let longer = json!({ "email": "dev@acme.test", "expires_in": 3600 }).to_string();
    let refused = server.ask_as(Some(new), Method::POST, "/users/rotate", longer).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "how long a key is good is not theirs to say");
    assert_eq!(me(&server, new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_admin_cannot_lock_everybody_out() {
    let server = Server::new().await;
    for path in ["/users/revoke", "/users/rotate"] {
        let answer = post(&server, path, &json!({ "email": "admin@acme.test" })).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::CONFLICT, &"CONFLICT".into()));
        assert!(answer.text.contains("last admin"), "{}", answer.text);
    }
    assert_eq!(me(&server, &key(Role::Admin)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_done_to_people_is_audited_and_no_secret_with_it() {
    let server = Server::new().await;
    let preset = "a-key-somebody-chose-before";
    let body = json!({ "email": "dev@acme.test", "role": "viewer", "api_key": preset });
    let token =
        post(&server, "/users/create", &body).await.json()["claim_token"].as_str().unwrap().to_owned();
    claim(&server, &token).await;
    let rotated = post(&server, "/users/rotate", &json!({ "email": "dev@acme.test" })).await.json();
    post(&server, "/users/revoke", &json!({ "email": "dev@acme.test" })).await;
    let records = server.ports.audit.read(0, 100).await.unwrap();
    let lines: String = records.iter().map(runvoy_core::audit::AuditRecord::to_line).collect();
    for (action, times) in [("create_user", 1), ("claim_key", 2), ("rotate_user", 1), ("revoke_user", 1)] {
        assert_eq!(lines.matches(action).count(), times, "{action}: {lines}");
    }
    assert_eq!(lines.matches("user:dev@acme.test").count(), 5, "{lines}");
    assert_eq!(lines.matches("the key was fetched").count(), 1, "{lines}");
    for secret in [preset, &token, rotated["claim_token"].as_str().unwrap()] {
        assert!(!lines.contains(secret), "{lines}");
    }
}

/// A reader of a stream that has been told the beginning, and the body it reads on.
async fn open_stream(server: &Server, key: &str, id: &str) -> Body {
    let request = Request::get(format!("/api/v1/executions/{id}/logs/stream")).header("X-API-Key", key);
    let response = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: status"), "{first:?}");
    body
}

async fn start_as(server: &Server, key: &str) -> String {
    let body = json!({ "command": "sleep 60" }).to_string();
    let id = server.ask_as(Some(key), Method::POST, "/run", body).await.json()["execution_id"].clone();
    for task in server.manual.pending() {
        assert!(server.manual.claim(task.task));
    }
    server.settle().await;
    id.as_str().unwrap().to_owned()
}

/// What is left of a body; it ends by itself.
async fn rest(body: Body) -> Bytes {
    let whole = tokio::time::timeout(Duration::from_secs(20), body.collect()).await;
    whole.expect("the stream ends").unwrap().to_bytes()
}

#[tokio::test]
async fn open_streams_and_waits_end_with_the_key() {
    for path in ["/users/revoke", "/users/rotate"] {
        let server = Arc::new(Server::manual().await);
        let dev = join(&server, "dev@acme.test").await;
        let id = start_as(&server, &dev).await;
        let theirs = open_stream(&server, &dev, &id).await;
        let admins = open_stream(&server, &key(Role::Admin), &id).await;
        let waits = ["?wait=20", "/logs?limit=1&wait=20"].map(|rest| {
            let (server, dev, path) = (Arc::clone(&server), dev.clone(), format!("/executions/{id}{rest}"));
            tokio::spawn(async move { server.ask_as(Some(&dev), Method::GET, &path, Body::empty()).await })
        });
        assert_eq!(post(&server, path, &json!({ "email": "dev@acme.test" })).await.status, StatusCode::OK);
        let told = rest(theirs).await;
        assert!(!told.windows(10).any(|part| part == b"event: end"), "{told:?}");
        for wait in waits {
            assert_eq!(wait.await.unwrap().status, StatusCode::UNAUTHORIZED, "{path}");
        }
        // Everybody else reads on.
        for task in server.manual.running() {
            server.manual.exit(task, 0);
        }
        server.settle().await;
        assert!(rest(admins).await.windows(10).any(|part| part == b"event: end"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_server_revoked_ends_its_streams_too() {
    let server = Server::manual().await;
    let dev = join(&server, "dev@acme.test").await;
    let id = start_as(&server, &dev).await;
    let theirs = open_stream(&server, &dev, &id).await;
    // Behind this service's back.
    server
        .ports
        .keys
        .revoke(&"dev@acme.test".parse().unwrap(), runvoy_core::id::RequestId::random())
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    let whole = tokio::time::timeout(Duration::from_mins(5), theirs.collect()).await;
    whole.expect("the stream ends").unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn open_streams_end_when_the_key_expires() {
    let server = Server::manual().await;
    let body = json!({ "email": "dev@acme.test", "role": "developer", "expires_in": 3600 });
    let token = post(&server, "/users/create", &body).await.json()["claim_token"].clone();
    let answer = claim(&server, token.as_str().unwrap()).await.json();
    let dev = answer["api_key"].as_str().unwrap();
    let id = start_as(&server, dev).await;
    let theirs = open_stream(&server, dev, &id).await;
    server.clock.advance(Duration::from_hours(1));
    // At the stream's next look, not when the key store is asked again.
    let whole = tokio::time::timeout(Duration::from_secs(2), theirs.collect()).await;
    let told = whole.expect("the stream ends").unwrap().to_bytes();
    assert!(!told.windows(10).any(|part| part == b"event: end"), "{told:?}");
}

#[tokio::test]
async fn a_request_that_names_nobody_is_not_recorded_as_about_its_sender() {
    let server = Server::new().await;
    for body in ["no JSON", r#"{"email": "no address", "role": "viewer"}"#] {
        let answer = server.ask_as(Some(&key(Role::Viewer)), Method::POST, "/users/create", body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{body}: {answer:?}");
        assert!(!answer.text.contains("viewer@acme.test"), "{}", answer.text);
    }
    let records = server.ports.audit.read(0, 100).await.unwrap();
    let events = records.iter().map(|record| record.event().unwrap());
    let told: Vec<_> = events.map(|event| (event.user.to_string(), event.action, event.resource)).collect();
    let expected = ("viewer@acme.test".to_owned(), "create_user".to_owned(), "user:?".to_owned());
    assert_eq!(told, [expected.clone(), expected]);
}

#[tokio::test]
async fn who_is_dropped_is_recorded_first() {
    let server = Server::new().await;
    invite(&server, "lapsed@acme.test").await;
    server.clock.advance(Duration::from_mins(15));
    server.runvoy.keep_people().await.unwrap();
    server.runvoy.keep_people().await.unwrap();
    let records = server.ports.audit.read(0, 100).await.unwrap();
    let events = records.iter().map(|record| record.event().unwrap());
    let dropped: Vec<_> = events.filter(|event| event.action == "drop_user").collect();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0].resource, "user:lapsed@acme.test");
}

#[tokio::test]
async fn when_somebody_was_last_seen_costs_no_write_per_request() {
    let server = Server::new().await;
    let email = "viewer@acme.test".parse().unwrap();
    let stored = async || server.ports.keys.user(&email).await.unwrap().unwrap().last_used;
    for _ in 0..3 {
        me(&server, &key(Role::Viewer)).await;
    }
    assert_eq!(stored().await, None);
    server.runvoy.keep_people().await.unwrap();
    let first = stored().await.unwrap();
    server.clock.advance(Duration::from_mins(5));
    me(&server, &key(Role::Viewer)).await;
    server.runvoy.keep_people().await.unwrap();
    assert_eq!(stored().await.unwrap().duration_since(first).as_secs(), 300);
}
