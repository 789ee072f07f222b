//! Who may do what, and the shapes that clients know.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use runvoy_core::clock::Clock as _;
use runvoy_core::id::{Email, RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::User;

use super::server::{Answer, Server, key};

/// Keys of admins, one who was revoked and one whose key has expired.
const REVOKED: &str = "a-revoked-key-for-tests-only";
const EXPIRED: &str = "an-expired-key-for-tests-only";
/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const RUN: &str = r#"{"command":"true"}"#;

async fn status(server: &Server, role: Role, method: Method, path: &str) -> u16 {
    let body = match (method.as_str(), path) {
        ("POST", "/authz/check") => r#"{"action":"run"}"#,
        ("POST", _) => RUN,
        _ => "",
    };
    server.ask_as(Some(&key(role)), method, path, body).await.status.as_u16()
}

/// Keys that open nothing, an image and two secrets.
async fn prepare(server: &Server) {
    for (key, revoked, expires) in [(REVOKED, true, None), (EXPIRED, false, Some(server.clock.now()))] {
        let email = format!("{key}@acme.test").parse().unwrap();
        let user = User::new(email, Role::Admin, server.clock.now(), RequestId::from_u128(1));
        let user = User { revoked, key_expires_at: expires, ..user };
        server.ports.keys.insert(user, ApiKey::parse(key).unwrap().hash()).await.unwrap();
    }
    server.ask(Method::POST, "/images/register", r#"{"image":"tool:1"}"#).await;
    for (name, role) in [("theirs", Role::Admin), ("own", Role::Developer)] {
        let body = format!(r#"{{"name":"{name}","key_name":"K","value":"v"}}"#);
        let made = server.ask_as(Some(&key(role)), Method::POST, "/secrets", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }
}

#[tokio::test]
async fn every_route_and_role_as_the_matrix_says() {
    let server = Server::new().await;
    prepare(&server).await;
    let theirs = server.run("true").await;
    let owned = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/run", RUN).await.json();
    let own = owned["execution_id"].as_str().unwrap();
    server.settle().await;
    let execution = |id: &str, rest: &str| format!("/executions/{id}{rest}");
    // method, path, then admin, operator, developer, viewer
    let rows: Vec<(Method, String, [u16; 4])> = vec![
        (Method::GET, "/me".into(), [200, 200, 200, 200]),
        (Method::POST, "/run".into(), [202, 202, 202, 403]),
        (Method::GET, "/executions".into(), [200, 200, 200, 200]),
        (Method::GET, "/executions/".into(), [200, 200, 200, 200]),
        (Method::GET, execution(&theirs, ""), [200, 200, 403, 403]),
        (Method::GET, execution(&theirs, "/status"), [200, 200, 403, 403]),
        (Method::GET, execution(&theirs, "/why"), [200, 200, 403, 403]),
        (Method::GET, execution(&theirs, "/logs"), [200, 200, 403, 403]),
        (Method::GET, execution(&theirs, "/logs?limit=1"), [200, 200, 403, 403]),
        (Method::GET, execution(&theirs, "/logs/stream"), [200, 200, 403, 403]),
        (Method::DELETE, execution(&theirs, ""), [204, 204, 403, 403]),
        (Method::GET, execution(own, ""), [200, 200, 200, 403]),
        (Method::GET, execution(own, "/status"), [200, 200, 200, 403]),
        (Method::GET, execution(own, "/why"), [200, 200, 200, 403]),
        (Method::GET, execution(own, "/logs"), [200, 200, 200, 403]),
        (Method::GET, execution(own, "/logs/stream"), [200, 200, 200, 403]),
        (Method::DELETE, execution(own, ""), [204, 204, 204, 403]),
        // Whoever may do it to nobody else's is not told that there is none.
        (Method::GET, execution("000000", "/status"), [404, 404, 403, 403]),
        (Method::GET, execution("no-id", "/logs?limit=x"), [400, 400, 403, 403]),
        (Method::DELETE, execution("000000", ""), [404, 404, 403, 403]),
        (Method::POST, "/health/reconcile".into(), [200, 200, 403, 403]),
        (Method::GET, "/users".into(), [200, 200, 403, 403]),
        (Method::GET, "/users/".into(), [200, 200, 403, 403]),
        // The body names nobody: who may do it is told so.
        (Method::POST, "/users/create".into(), [400, 403, 403, 403]),
        (Method::POST, "/users/revoke".into(), [400, 403, 403, 403]),
        // Everybody may replace their own key.
        (Method::POST, "/users/rotate".into(), [400, 400, 400, 400]),
        (Method::GET, "/images".into(), [200, 200, 403, 403]),
        (Method::GET, "/images/".into(), [200, 200, 403, 403]),
        (Method::GET, "/images/tool:1".into(), [200, 200, 403, 403]),
        (Method::GET, "/images/none:1".into(), [404, 404, 403, 403]),
        // The body names no image.
        (Method::POST, "/images/register".into(), [400, 400, 403, 403]),
        (Method::PUT, "/images/none:1-0a1b2c3d".into(), [400, 400, 403, 403]),
        (Method::DELETE, "/images/none:1-0a1b2c3d".into(), [404, 404, 403, 403]),
        (Method::DELETE, "/images/org/none:1-0a1b2c3d".into(), [404, 404, 403, 403]),
        (Method::GET, "/secrets".into(), [200, 200, 200, 403]),
        (Method::GET, "/secrets/".into(), [200, 200, 200, 403]),
        // The body names no secret.
        (Method::POST, "/secrets".into(), [400, 400, 400, 403]),
        (Method::GET, "/secrets/theirs".into(), [200, 200, 403, 403]),
        (Method::GET, "/secrets/theirs?value=false".into(), [200, 200, 403, 403]),
        (Method::GET, "/secrets/own".into(), [200, 200, 200, 403]),
        (Method::GET, "/secrets/none".into(), [404, 404, 403, 403]),
        (Method::GET, "/secrets/no%20name".into(), [400, 400, 403, 403]),
        (Method::GET, "/secrets/%FF".into(), [400, 400, 403, 403]),
        (Method::GET, "/secrets/theirs?value=x".into(), [400, 400, 403, 403]),
        (Method::GET, "/secrets/none?value=x".into(), [404, 404, 403, 403]),
        // There is no body.
        (Method::PUT, "/secrets/theirs".into(), [400, 400, 403, 403]),
        (Method::PUT, "/secrets/own".into(), [400, 400, 400, 403]),
        (Method::PUT, "/secrets/none".into(), [404, 404, 403, 403]),
        (Method::DELETE, "/secrets/none".into(), [404, 404, 403, 403]),
        (Method::DELETE, "/secrets/no%20name".into(), [400, 400, 403, 403]),
        // Once for each of them: the first takes it away.
        (Method::DELETE, "/secrets/theirs".into(), [200, 404, 403, 403]),
        (Method::PUT, "/code/00".into(), [400, 400, 400, 403]),
        // Of no bytes; the first one keeps it.
        (Method::PUT, format!("/code/{EMPTY}"), [201, 200, 200, 403]),
        (Method::GET, "/locks".into(), [200, 200, 200, 200]),
        (Method::GET, "/locks/".into(), [200, 200, 200, 200]),
        (Method::GET, "/locks/infra%2Fprod".into(), [200, 200, 200, 200]),
        // Nobody holds it.
        (Method::DELETE, "/locks/infra%2Fprod".into(), [404, 403, 403, 403]),
        (Method::DELETE, "/locks/infra%2Fprod?abandon=true".into(), [404, 403, 403, 403]),
        (Method::POST, "/authz/check".into(), [200, 200, 200, 200]),
        (Method::GET, "/policies".into(), [200, 200, 403, 403]),
        (Method::GET, "/trace/unknown".into(), [200, 403, 403, 403]),
        (Method::GET, "/audit".into(), [200, 403, 403, 403]),
        (Method::GET, "/audit/head".into(), [200, 403, 403, 403]),
        (Method::GET, "/audit/verify".into(), [200, 403, 403, 403]),
    ];
    for (method, path, expected) in rows {
        for (role, expected) in Role::ALL.into_iter().zip(expected) {
            let found = status(&server, role, method.clone(), &path).await;
            assert_eq!(found, expected, "{method} {path} as {role}");
        }
        if !path.ends_with('/') {
            for (bad, code) in [
                (None, None),
                (Some("unknown-key-of-24-characters"), Some("INVALID_API_KEY")),
                (Some(REVOKED), Some("API_KEY_REVOKED")),
                (Some(EXPIRED), Some("API_KEY_EXPIRED")),
            ] {
                let answer = server.ask_as(bad, method.clone(), &path, Body::empty()).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
                assert_eq!(answer.json()["code"].as_str(), code);
                assert_eq!(answer.json()["error"], "Unauthorized");
            }
        }
    }
}

/// Values, tokens, and what others may not see: caches do not know the header of the key.
#[tokio::test]
async fn nobody_on_the_way_may_keep_an_answer() {
    let server = Server::new().await;
    let secret = r#"{"name":"gh","key_name":"K","value":"v"}"#;
    server.ask(Method::POST, "/secrets", secret).await;
    let run = server.ask(Method::POST, "/run", RUN).await;
    let id = run.json()["execution_id"].as_str().unwrap().to_owned();
    server.settle().await;
    let mut answers = vec![run, server.ask_as(None, Method::GET, "/secrets/gh", Body::empty()).await];
    let of_run = |rest: &str| format!("/executions/{id}{rest}");
    for path in ["/secrets/gh".to_owned(), "/me".into(), of_run("/logs"), of_run("/logs/stream"), of_run("")]
    {
        answers.push(server.get(&path).await);
    }
    for answer in answers {
        let cache: Vec<_> = answer.headers.get_all("cache-control").iter().collect();
        assert_eq!(cache, ["no-store"], "{answer:?}");
    }
}

#[tokio::test]
async fn a_viewer_learns_nothing_from_a_bad_body() {
    let server = Server::new().await;
    let answer = server.ask_as(Some(&key(Role::Viewer)), Method::POST, "/run", "{").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_has_no_key_is_not_told_which_paths_exist() {
    let server = Server::new().await;
    for path in [
        "/executions/x/y",
        "/users/x",
        "/users/nobody",
        "/images/a",
        "/images/a/b",
        "/secrets/a/b",
        "/trace/1/2",
        "/run/x",
    ] {
        let answer = server.ask_as(None, Method::GET, path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_revoked_key_fails_on_its_next_request() {
    let server = Server::new().await;
    assert_eq!(status(&server, Role::Operator, Method::GET, "/me").await, 200);
    let email: Email = "operator@acme.test".parse().unwrap();
    server.ports.keys.revoke(&email, RequestId::from_u128(2)).await.unwrap();
    let answer = server.ask_as(Some(&key(Role::Operator)), Method::GET, "/me", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["code"], "API_KEY_REVOKED");
}

/// A body whose ids and times are replaced, so that it can be compared.
fn shape(answer: &Answer) -> String {
    let hex = |text: &str| -> String {
        let mut out = String::new();
        let mut run = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
                run.push(c);
            } else {
                out.push_str(if run.len() == 32 { "<id>" } else { &run });
                run.clear();
                out.push(c);
            }
        }
        out
    };
    let text = match answer.text.split_once("&token=") {
        None => answer.text.clone(),
        Some((before, after)) => format!("{before}&token=…\"{}", after.split_once('"').unwrap().1),
    };
    format!("{}\n{}", answer.status.as_u16(), hex(&text).trim_end())
}

#[tokio::test]
async fn the_shapes_are_those_that_clients_know() {
    let server = Server::new().await;
    let body = r#"{"command":"make test","env":{"CI":"1"}}"#;
    let run = server.ask(Method::POST, "/run", body).await;
    let id = run.json()["execution_id"].as_str().unwrap().to_owned();
    assert!(run.headers["x-request-id"].to_str().unwrap().len() == 32);
    server.settle().await;
    let mut shown = vec![("POST /run".to_owned(), shape(&run))];
    for path in ["/health", "/me", "/executions"] {
        shown.push((format!("GET {path}"), shape(&server.get(path).await)));
    }
    for rest in ["", "/status", "/logs", "/logs?limit=10", "/logs/stream", "/logs/stream?format=blocks"] {
        let answer = server.get(&format!("/executions/{id}{rest}")).await;
        shown.push((format!("GET /executions/{{id}}{rest}"), shape(&answer)));
    }
    let all: String = shown.into_iter().map(|(name, shape)| format!("{name}\n{shape}\n\n")).collect();
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_one_execution() {
    let server = Server::new().await;
    let ask = async |idempotency: &str, body: &'static str, role: Role| {
        let request = Request::post("/api/v1/run")
            .header("X-API-Key", key(role))
            .header("Idempotency-Key", idempotency)
            .body(Body::from(body))
            .unwrap();
        server.send(request).await
    };
    let first = ask("k", RUN, Role::Admin).await.json()["execution_id"].clone();
    assert_eq!(ask("k", RUN, Role::Admin).await.json()["execution_id"], first);
    let other = ask("k", r#"{"command":"false"}"#, Role::Admin).await;
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (StatusCode::CONFLICT, Some("IDEMPOTENCY_CONFLICT"))
    );
    // A key belongs to its user.
    assert_ne!(ask("k", RUN, Role::Developer).await.json()["execution_id"], first);
    assert_eq!(ask("k", RUN, Role::Viewer).await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.executions().await, 2);
}

#[tokio::test]
async fn a_list_is_paged_filtered_and_whole() {
    let server = Server::new().await;
    for n in 0..25 {
        server.run(&format!("echo {n}")).await;
    }
    server.settle().await;
    let count =
        async |query: &str| server.get(&format!("/executions{query}")).await.json().as_array().unwrap().len();
    assert_eq!(count("").await, 10);
    assert_eq!(count("?limit=0").await, 25);
    assert_eq!(count("?limit=25&status=SUCCEEDED").await, 25);
    assert_eq!(count("?limit=25&status=running,%20SUCCEEDED").await, 25);
    assert_eq!(count("?status=NONSENSE").await, 0);
    assert_eq!(count("?user=developer@acme.test").await, 0);
    let page = server.get("/executions?limit=20").await.json();
    let last = page[19]["execution_id"].as_str().unwrap();
    assert_eq!(count(&format!("?after={last}&limit=20")).await, 5);
}
