//! What happens to people between a decision and its effect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use runvoy_core::audit::{AuditRecord, Checkpoint, Head};
use runvoy_core::claim::ClaimToken;
use runvoy_core::clock::Clock as _;
use runvoy_core::id::{RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{AuditEvent, AuditKind, AuditLog, KeyExpiry, NewClaim, StoreError, User};
use runvoy_local::memory::MemoryAuditLog;
use serde_json::json;

use super::server::Server;

/// An audit log that lets something else happen once, when an action is recorded.
#[derive(Default)]
struct Meanwhile {
    inner: MemoryAuditLog,
    next: Mutex<Option<(&'static str, BoxFuture<'static, ()>)>>,
}

impl Meanwhile {
    async fn server() -> (Server, Arc<Self>) {
        let log = Arc::new(Self::default());
        let server = Server::with(|ports| ports.audit = log.clone()).await;
        (server, log)
    }

    fn at(&self, action: &'static str, what: impl Future<Output = ()> + Send + 'static) {
        *self.next.lock().unwrap() = Some((action, Box::pin(what)));
    }
}

#[async_trait]
impl AuditLog for Meanwhile {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let next = self.next.lock().unwrap().take_if(|(action, _)| event.action == *action);
        let seq = self.inner.append(event).await;
        if let Some((_, what)) = next {
            what.await;
        }
        seq
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.read(after, limit).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }
    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.inner.add_checkpoint(checkpoint).await
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.inner.checkpoints().await
    }
}

impl Meanwhile {
    /// Kind and detail of what was recorded of claims.
    async fn claims(&self) -> Vec<(AuditKind, String)> {
        let records = self.inner.read(0, 100).await.unwrap();
        let events = records.iter().map(|record| record.event().unwrap());
        let claims = events.filter(|event| event.action == "claim_key");
        claims.map(|event| (event.kind, event.detail.unwrap_or_default())).collect()
    }
}

#[tokio::test]
async fn what_came_of_a_claim_is_recorded() {
    let (server, log) = Meanwhile::server().await;
    let body = json!({ "email": "dev@acme.test", "role": "developer" }).to_string();
    let created = server.ask(Method::POST, "/users/create", body).await.json();
    let text = created["claim_token"].as_str().unwrap();
    let (keys, now) = (Arc::clone(&server.ports.keys), server.clock.now());
    let token = ClaimToken::parse(text).unwrap().hash();
    log.at("claim_key", async move {
        keys.claim(&token, ApiKey::generate().hash(), now, RequestId::random()).await.unwrap();
    });
    let lost = server.ask_as(None, Method::GET, &format!("/claim/{text}"), "").await;
    assert_eq!(lost.status, StatusCode::CONFLICT, "{lost:?}");
    let allowed = (AuditKind::Allowed, String::new());
    let outcome = (AuditKind::Outcome, "no key: the token was used meanwhile".to_owned());
    assert_eq!(log.claims().await, [allowed.clone(), outcome]);

    let body = json!({ "email": "viewer@acme.test" }).to_string();
    let rotated = server.ask(Method::POST, "/users/rotate", body).await.json();
    let text = rotated["claim_token"].as_str().unwrap();
    let keys = Arc::clone(&server.ports.keys);
    log.at("claim_key", async move {
        keys.revoke(&"viewer@acme.test".parse().unwrap(), RequestId::random()).await.unwrap();
    });
    let lost = server.ask_as(None, Method::GET, &format!("/claim/{text}"), "").await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND, "{lost:?}");
    let outcome = (AuditKind::Outcome, "no key: the token lapsed or was replaced meanwhile".to_owned());
    assert_eq!(log.claims().await[2..], [allowed, outcome]);
    let again = created["claim_token"].as_str().unwrap();
    let late = server.ask_as(None, Method::GET, &format!("/claim/{again}"), "").await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{late:?}");
    let denied = (AuditKind::Denied, "no key: it was used before".to_owned());
    assert_eq!(log.claims().await[4..], [denied]);
}

#[tokio::test]
async fn what_was_meant_and_did_not_happen_is_recorded() {
    let (server, log) = Meanwhile::server().await;
    let keys = Arc::clone(&server.ports.keys);
    let invite = async move |now: Timestamp| {
        let user = User::new("new@acme.test".parse().unwrap(), Role::Viewer, now, RequestId::random());
        let until = now + Duration::from_mins(1);
        let claim = NewClaim { token: ClaimToken::generate().hash(), until, sealed: None };
        keys.invite(user, claim, now).await.unwrap();
    };
    let (first, now) = (invite.clone(), server.clock.now());
    log.at("create_user", async move { first(now).await });
    let body = json!({ "email": "new@acme.test", "role": "developer" }).to_string();
    let lost = server.ask(Method::POST, "/users/create", body).await;
    assert_eq!(lost.status, StatusCode::CONFLICT, "{lost:?}");
    server.clock.advance(Duration::from_mins(2));
    let now = server.clock.now();
    log.at("drop_user", async move { invite(now).await });
    server.runvoy.keep_people().await.unwrap();

    let records = log.inner.read(0, 100).await.unwrap();
    let outcomes: Vec<_> = records
        .iter()
        .map(|record| record.event().unwrap())
        .filter(|event| event.kind == AuditKind::Outcome)
        .map(|event| (event.action, event.resource, event.detail.unwrap_or_default()))
        .collect();
    let about =
        |action: &str, detail: &str| (action.to_owned(), "user:new@acme.test".to_owned(), detail.to_owned());
    assert_eq!(
        outcomes,
        [
            about("create_user", "not made: somebody was there first"),
            about("drop_user", "not dropped: invited again meanwhile"),
        ]
    );
}

#[tokio::test]
async fn a_rotation_does_not_undo_an_expiry_that_was_set_meanwhile() {
    let (server, log) = Meanwhile::server().await;
    let body = json!({ "email": "viewer@acme.test" }).to_string();
    let expires = server.clock.now() + Duration::from_mins(1);
    let keys = Arc::clone(&server.ports.keys);
    let claim = NewClaim { token: ClaimToken::generate().hash(), until: expires, sealed: None };
    log.at("rotate_user", async move {
        let email = "viewer@acme.test".parse().unwrap();
        keys.rotate(&email, claim, KeyExpiry::Set(Some(expires)), RequestId::random()).await.unwrap();
    });
    let rotated = server.ask(Method::POST, "/users/rotate", body).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    assert_eq!(rotated.json()["user"]["key_expires_at"], expires.to_string());
}
