//! Uploads over HTTP.

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, StatusCode, header};
use runvoy_core::code::{CodeDigest, CodeHasher};
use runvoy_core::id::Role;
use runvoy_core::limits;
use serde_json::json;

use super::server::{Answer, Server, key};

fn digest(bytes: &[u8]) -> CodeDigest {
    let mut hasher = CodeHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

async fn put(server: &Server, name: CodeDigest, body: impl Into<Body>) -> Answer {
    server.ask(Method::PUT, &format!("/code/{name}"), body).await
}

async fn head(server: &Server, role: Option<Role>, name: &str) -> Answer {
    let key = role.map(key);
    server.ask_as(key.as_deref(), Method::HEAD, &format!("/code/{name}"), Body::empty()).await
}

#[tokio::test]
async fn code_is_uploaded_once_found_by_its_digest_and_run() {
    let server = Server::new().await;
    let bytes = vec![7_u8; 3 * limits::BODY_BYTES];
    let name = digest(&bytes);
    assert_eq!(head(&server, Some(Role::Admin), &name.to_string()).await.status, StatusCode::NOT_FOUND);
    let run = json!({"command": "true", "code": name}).to_string();
    assert_eq!(server.ask(Method::POST, "/run", run.clone()).await.status, StatusCode::BAD_REQUEST);
    for status in [StatusCode::CREATED, StatusCode::OK] {
        let answer = put(&server, name, bytes.clone()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json(), json!({"sha256": name, "size": bytes.len()}));
    }
    let found = head(&server, Some(Role::Developer), &name.to_string()).await;
    assert_eq!(found.status, StatusCode::OK);
    assert_eq!(found.headers[header::CONTENT_LENGTH], bytes.len().to_string().as_str());
    let answer = server.ask(Method::POST, "/run", run).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
    let record = server.get(&format!("/executions/{id}")).await.json();
    assert_eq!((&record["code"], &record["code_bytes"]), (&json!(name), &json!(bytes.len())));
    let audit = server.get("/audit?action=upload_code").await.text;
    assert_eq!(audit.lines().count(), 1, "{audit}");
    assert!(audit.contains(&format!("code {name}")), "{audit}");
}

#[tokio::test]
async fn what_is_not_what_its_name_says_is_refused_and_not_kept() {
    let server = Server::new().await;
    let name = digest(b"right");
    let answer = put(&server, name, "wrong").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["details"].as_str().unwrap().contains(&digest(b"wrong").to_string()), "{answer:?}");
    let broken = stream::iter([Ok(Bytes::from_static(b"ri")), Err("cut")]).boxed();
    let answer = put(&server, name, Body::from_stream(broken)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["details"].as_str().unwrap().contains("broke off"), "{answer:?}");
    let announced = Request::put(format!("/api/v1/code/{name}"))
        .header("X-API-Key", key(Role::Admin))
        .header(header::CONTENT_LENGTH, limits::CODE_BYTES + 1)
        .body(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()))
        .unwrap();
    let answer = server.send(announced).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "without a byte being read");
    let details = answer.json()["details"].as_str().unwrap().to_owned();
    assert!(details.contains("536870912") && details.contains("536870913"), "{details}");
    assert_eq!(head(&server, Some(Role::Admin), &name.to_string()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_not_upload_is_told_nothing_and_no_byte_of_theirs_is_read() {
    let server = Server::new().await;
    let name = digest(b"code").to_string();
    put(&server, digest(b"code"), "code").await;
    for (role, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(Role::Viewer), StatusCode::FORBIDDEN),
        (Some(Role::Developer), StatusCode::OK),
    ] {
        assert_eq!(head(&server, role, &name).await.status, status);
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        if status != StatusCode::OK {
            let key = role.map(key);
            let path = format!("/code/{}", digest(b"other"));
            assert_eq!(server.ask_as(key.as_deref(), Method::PUT, &path, body).await.status, status);
        }
    }
    assert_eq!(head(&server, Some(Role::Admin), "A0").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_server_without_a_store_says_so() {
    let server = Server::with(|ports| ports.code = None).await;
    let name = digest(b"code");
    let answer = put(&server, name, "code").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["details"].as_str().unwrap().contains("keeps no uploaded code"));
    let run = json!({"command": "true", "code": name}).to_string();
    let answer = server.ask(Method::POST, "/run", run).await;
    assert!(answer.json()["details"].as_str().unwrap().contains("code: this server keeps no"), "{answer:?}");
}

#[tokio::test]
async fn a_store_that_is_down_or_full_is_not_there_for_now() {
    use std::sync::Arc;

    use runvoy_core::port::{CodeError, StoreError};
    use runvoy_core::testing::mocks::MockCodeStore;

    let mut down = MockCodeStore::new();
    down.expect_find().times(1).returning(|_, _| Err(StoreError::unavailable("down")));
    down.expect_find().returning(|_, _| Ok(None));
    let full = || CodeError::NoRoom { message: "the disk is full; make room there".to_owned() };
    down.expect_put().returning(move |_, _, _, _| Err(full()));
    let server = Server::with(|ports| ports.code = Some(Arc::new(down))).await;
    let name = digest(b"code");
    let answer = head(&server, Some(Role::Admin), &name.to_string()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "never: not there");
    let answer = put(&server, name, "code").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.json()["details"].as_str().unwrap().contains("make room"), "{answer:?}");
}
