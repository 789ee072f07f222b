//! How many requests are let in.

use axum::body::Body;
use http::{Request, StatusCode};
use runvoy_core::http::PeerAddress;
use runvoy_core::id::Role;
use runvoy_core::{Rate, Rates};

use super::server::{Answer, Server, key};

async fn server(rates: Rates) -> Server {
    Server::with(|ports| {
        ports.config.rates = rates;
        ports.config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await
}

/// Asks from an address, maybe on behalf of another.
async fn ask(server: &Server, from: &str, on_behalf: Option<&str>, key: &str, path: &str) -> Answer {
    let mut request = Request::get(format!("/api/v1{path}")).header("X-API-Key", key);
    if let Some(address) = on_behalf {
        request = request.header("X-Forwarded-For", address);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(PeerAddress(from.parse().unwrap()));
    server.send(request).await
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    assert_eq!(answer.json()["code"], "TOO_MANY_REQUESTS");
    assert!(answer.json()["error"].is_string() && answer.headers.contains_key("x-request-id"));
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let none = Rates { per_key: None, per_address: None, failures: None };
    let server = server(Rates { per_key: Rate::per_minute(2), ..none }).await;
    let viewer = key(Role::Viewer);
    for from in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(&server, from, None, &viewer, "/me").await.status, StatusCode::OK);
    }
    assert_refused(&ask(&server, "192.0.2.3", None, &viewer, "/me").await);
    assert_eq!(ask(&server, "192.0.2.3", None, &key(Role::Admin), "/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let none = Rates { per_key: None, per_address: None, failures: None };
    let server = server(Rates { per_address: Rate::per_minute(2), ..none }).await;
    for path in ["/health", "/me"] {
        assert_eq!(ask(&server, "192.0.2.1", None, &key(Role::Admin), path).await.status, StatusCode::OK);
    }
    assert_refused(&ask(&server, "192.0.2.1", None, &key(Role::Admin), "/health").await);
    // Somebody else, and this machine.
    for from in ["192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
        assert_eq!(ask(&server, from, None, "", "/health").await.status, StatusCode::OK, "{from}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_stands_for_those_behind_it() {
    let none = Rates { per_key: None, per_address: None, failures: None };
    let server = server(Rates { per_address: Rate::per_minute(1), ..none }).await;
    for behind in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(&server, "10.0.0.1", Some(behind), "", "/health").await.status, StatusCode::OK);
        assert_refused(&ask(&server, "10.0.0.1", Some(behind), "", "/health").await);
    }
    // Nobody else's word counts.
    assert_eq!(ask(&server, "192.0.2.9", Some("192.0.2.3"), "", "/health").await.status, StatusCode::OK);
    assert_refused(&ask(&server, "192.0.2.9", Some("192.0.2.4"), "", "/health").await);
}

#[tokio::test]
async fn who_guesses_keys_or_tokens_is_soon_not_looked_at() {
    let server = server(Rates { failures: Rate::per_minute(3), ..Rates::default() }).await;
    let good = key(Role::Operator);
    assert_eq!(ask(&server, "192.0.2.1", None, &good, "/me").await.status, StatusCode::OK);
    for (key, path, status) in [
        ("a-guess-of-24-characters", "/me", 401),
        ("short", "/me", 401),
        ("", "/claim/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 404),
        ("", "/claim/x", 404),
    ] {
        assert_eq!(ask(&server, "192.0.2.1", None, key, path).await.status.as_u16(), status);
    }
    assert_refused(&ask(&server, "192.0.2.1", None, "a-guess-of-24-characters", "/me").await);
    assert_refused(&ask(&server, "192.0.2.1", None, "", "/claim/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await);
    assert_refused(&ask(&server, "192.0.2.1", None, &key(Role::Admin), "/me").await);
    assert_eq!(ask(&server, "192.0.2.1", None, &good, "/me").await.status, StatusCode::OK, "known there");
    assert_eq!(ask(&server, "192.0.2.2", None, &key(Role::Admin), "/me").await.status, StatusCode::OK);
    assert_eq!(ask(&server, "192.0.2.1", None, "", "/health").await.status, StatusCode::OK);
}
