//! The OpenAPI document against the router.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::Value;

use super::server::Server;

/// Every operation of the document: method, path, whether it wants a key.
fn operations(document: &Value) -> Vec<(Method, String, bool)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Ok(method) = method.to_uppercase().parse::<Method>() {
                all.push((method, path.clone(), operation.get("security").is_some()));
            }
        }
    }
    all
}

#[tokio::test]
async fn every_documented_operation_is_routed_and_guarded_as_it_says() {
    let server = Server::new().await;
    let document = server.ask_as(None, Method::GET, "/openapi.json", Body::empty()).await.json();
    let operations = operations(&document);
    assert!(operations.len() >= 10, "{operations:?}");
    for (method, path, keyed) in operations {
        let path = path.replace("{id}", "0123456789abcdef0123456789abcdef").replace("{name}", "Ada");
        let answer = server.ask_as(None, method.clone(), &path, Body::empty()).await;
        let expected = match (keyed, path.as_str()) {
            (true, _) => StatusCode::UNAUTHORIZED,
            // Nobody was invited.
            (false, path) if path.starts_with("/claim/") => StatusCode::NOT_FOUND,
            // It does not say which execution.
            (false, "/ws") => StatusCode::BAD_REQUEST,
            (false, _) => StatusCode::OK,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn methods_that_are_not_documented_are_refused_with_allow() {
    let server = Server::new().await;
    let document = server.get("/openapi.json").await.json();
    let known = operations(&document);
    for (_, path, _) in &known {
        let documented: Vec<_> =
            known.iter().filter(|(_, other, _)| other == path).map(|(m, ..)| m).collect();
        let real = path.replace("{id}", "0123456789abcdef0123456789abcdef").replace("{name}", "Ada");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if documented.contains(&&method) {
                continue;
            }
            let answer = server.ask(method.clone(), &real, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.json()["code"], "METHOD_NOT_ALLOWED");
            let allow = answer.headers["allow"].to_str().unwrap().to_owned();
            for method in &documented {
                assert!(allow.contains(method.as_str()), "{path}: Allow: {allow}");
            }
        }
    }
}

#[test]
fn the_document_changes_only_on_purpose() {
    insta::assert_json_snapshot!(runvoy_core::http::openapi());
}
