//! Images over HTTP: the shapes that clients know, and what they make of references.

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::id::Role;
use serde_json::{Value, json};

use super::server::{Answer, Server, key};

async fn register(server: &Server, body: Value) -> Answer {
    server.ask(Method::POST, "/images/register", body.to_string()).await
}

/// Registers an image, and answers its id.
async fn registered(server: &Server, body: Value) -> String {
    let answer = register(server, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()["image_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_has_the_shape_that_clients_know() {
    let server = Server::new().await;
    let answer = register(&server, json!({"image": "golang:1.25"})).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["image"], "golang:1.25");
    assert_eq!(answer.json()["message"], "Image registered successfully");
    let image = server.get("/images/golang:1.25").await.json();
    let id = image["image_id"].as_str().unwrap();
    let (name, hash) = id.rsplit_once('-').unwrap();
    assert!(name == "golang:1.25" && hash.len() == 8, "{id}");
    for (field, value) in [
        ("image", json!("golang:1.25")),
        ("task_definition_name", json!("golang-1-25")),
        ("is_default", json!(true)),
        ("cpu", json!(256)),
        ("memory", json!(512)),
        ("runtime_platform", json!("default")),
        ("image_name", json!("golang")),
        ("image_tag", json!("1.25")),
        ("created_by", json!("admin@acme.test")),
        ("owned_by", json!(["admin@acme.test"])),
    ] {
        assert_eq!(image[field], value, "{field}");
    }
    assert!(image["created_at"].is_string() && image["created_by_request_id"].is_string());
    assert!(image["modified_by_request_id"].is_string());
    assert_eq!(server.get("/images").await.json(), json!({"images": [image]}));
}

#[tokio::test]
async fn references_are_found_however_their_slashes_are_written() {
    let server = Server::new().await;
    let id =
        registered(&server, json!({"image": "ghcr.io/org/tool:1", "runtime_platform": "Linux/ARM64"})).await;
    for path in [
        "ghcr.io%2Forg%2Ftool:1".to_owned(),
        "ghcr.io/org/tool:1".to_owned(),
        "org/tool:1".to_owned(),
        "org%2Ftool%3A1".to_owned(),
        id.replace('/', "%2F"),
        id.clone(),
    ] {
        let found = server.get(&format!("/images/{path}")).await;
        assert_eq!(found.status, StatusCode::OK, "{path}: {}", found.text);
        assert_eq!(found.json()["image_id"], id.as_str());
        assert_eq!(found.json()["runtime_platform"], "linux/arm64");
    }
    for path in ["org/tool:2", "tool:1", "org%252Ftool:1"] {
        let missing = server.get(&format!("/images/{path}")).await;
        assert_eq!(
            (missing.status, &missing.json()["code"]),
            (StatusCode::NOT_FOUND, &json!("NOT_FOUND")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_default_gives_way_to_another() {
    let server = Server::new().await;
    registered(&server, json!({"image": "a:1"})).await;
    registered(&server, json!({"image": "b:1"})).await;
    registered(&server, json!({"image": "c:1", "is_default": true})).await;
    // The same settings again are the same image.
    let again = registered(&server, json!({"image": "c:1"})).await;
    let images = server.get("/images/").await.json()["images"].as_array().unwrap().clone();
    let defaults: Vec<_> = images.iter().map(|image| image["is_default"].as_bool().unwrap()).collect();
    assert_eq!(defaults, [false, false, true]);
    assert_eq!(images[2]["image_id"], again.as_str());
}

#[tokio::test]
async fn an_image_is_changed_and_removed_by_its_id() {
    let server = Server::new().await;
    let id = registered(&server, json!({"image": "org/a:1", "user": "app"})).await;
    let body = json!({"is_default": false, "networks": ["build"], "stop_signal": "INT"}).to_string();
    let changed = server.ask(Method::PUT, &format!("/images/{id}"), body).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let image = changed.json();
    assert_eq!((&image["user"], &image["networks"]), (&json!("app"), &json!(["build"])));
    assert_eq!((&image["stop_signal"], &image["is_default"]), (&json!("INT"), &json!(false)));
    for method in [Method::DELETE, Method::PUT] {
        let body = if method == Method::PUT { "{}" } else { "" };
        let by_name = server.ask(method.clone(), "/images/org/a:1", body).await;
        assert_eq!(by_name.status, StatusCode::BAD_REQUEST, "{method}: {}", by_name.text);
        let unknown = server.ask(method, "/images/org/a:1-00000000", body).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    }
    let removed = server.ask(Method::DELETE, &format!("/images/{id}"), Body::empty()).await;
    assert_eq!(removed.status, StatusCode::OK);
    assert_eq!(removed.json(), json!({"image": id, "message": "Image removed successfully"}));
    assert_eq!(server.get("/images").await.json(), json!({"images": []}));
}

#[tokio::test]
async fn what_is_wrong_is_told_to_who_may_do_it() {
    let server = Server::new().await;
    for body in ["{", r#"{"image":7}"#, r#"{"image":"Not A Name"}"#, "{}"] {
        let refused = server.ask(Method::POST, "/images/register", body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        let viewer = server.ask_as(Some(&key(Role::Viewer)), Method::POST, "/images/register", body).await;
        assert_eq!(viewer.status, StatusCode::FORBIDDEN, "{body}");
    }
}

#[tokio::test]
async fn what_was_done_to_images_is_in_the_audit_log() {
    let server = Server::new().await;
    let id = registered(&server, json!({"image": "a:1"})).await;
    server.ask(Method::DELETE, &format!("/images/{id}"), Body::empty()).await;
    server.ask_as(Some(&key(Role::Viewer)), Method::DELETE, &format!("/images/{id}"), Body::empty()).await;
    let records = server.ports.audit.read(0, 100).await.unwrap();
    let events: Vec<_> = records.iter().map(|record| record.event().unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.action.as_str(), event.resource.as_str(), event.detail.as_deref()))
        .collect();
    let (by_name, by_id) = ("image:a:1", format!("image:{id}"));
    assert_eq!(
        told,
        [
            ("register_image", by_name, Some(id.as_str())),
            ("delete_image", by_name, Some(id.as_str())),
            ("delete_image", by_id.as_str(), None),
        ]
    );
}
