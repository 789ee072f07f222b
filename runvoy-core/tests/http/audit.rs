//! The audit log over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::audit::{AuditRecord, Checkpoint, CheckpointKey, Head};
use runvoy_core::clock::Clock as _;
use runvoy_core::id::Role;
use runvoy_core::port::{AuditEvent, AuditLog, StoreError};
use runvoy_core::testing::audit_log::some_event;
use runvoy_local::memory::MemoryAuditLog;
use serde_json::{Value, json};

use super::server::{Server, key};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn records(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/audit{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    lines(&answer.text)
}

#[tokio::test]
async fn the_audit_log_is_exported_whole_and_filtered() {
    let server = Server::new().await;
    let id = server.run("make").await;
    let as_viewer =
        server.ask_as(Some(&key(Role::Viewer)), Method::POST, "/run", r#"{"command":"true"}"#).await;
    assert_eq!(as_viewer.status, StatusCode::FORBIDDEN);
    server.settle().await;
    let all = records(&server, "").await;
    let numbers: Vec<u64> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<&str> = all.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["allowed", "denied", "outcome"]);
    assert_eq!(all[0]["resource"], format!("execution:{id}"));
    let viewers = records(&server, "?user=viewer@acme.test").await;
    assert_eq!(viewers, all[1..2]);
    assert_eq!(records(&server, "?after=1&action=run").await, all[1..]);
    assert_eq!(records(&server, "?action=kill").await, [] as [Value; 0]);
    assert_eq!(records(&server, "?since=2999-01-01T00:00:00Z").await, [] as [Value; 0]);
    let of_request = format!("?request={}", all[1]["request_id"].as_str().unwrap());
    assert_eq!(records(&server, &of_request).await, all[1..2]);
    assert_eq!(server.get("/audit?request=x").await.status, StatusCode::BAD_REQUEST);
    let mut previous = runvoy_core::audit::GENESIS.to_owned();
    for line in server.get("/audit").await.text.lines() {
        let (text, hash) = line.split_once(",\"hash\":\"").unwrap();
        assert_eq!(runvoy_core::audit::link(&previous, &format!("{text}}}")), hash[..64]);
        hash[..64].clone_into(&mut previous);
    }
}

#[tokio::test]
async fn more_than_a_page_is_exported_without_a_gap() {
    let server = Server::new().await;
    for _ in 0..2500 {
        server.ports.audit.append(some_event()).await.unwrap();
    }
    let all = records(&server, "").await;
    assert!(all.iter().enumerate().all(|(at, record)| record["seq"] == at + 1));
    assert_eq!(all.len(), 2500);
    assert_eq!(server.get("/audit/verify").await.json()["records"], 2500);
}

#[tokio::test]
async fn a_kept_head_shows_a_log_that_was_cut() {
    let server = Server::new().await;
    server.run("make").await;
    let head = server.get("/audit/head").await.json();
    assert_eq!(head["seq"], 1);
    assert_eq!(head["mac"], Value::Null, "this server has no key for checkpoints");
    let verify = async |query: &str| server.get(&format!("/audit/verify{query}")).await.json();
    let kept = format!("?seq=1&hash={}", head["hash"].as_str().unwrap());
    let report = verify(&kept).await;
    assert_eq!(
        (&report["whole"], &report["records"], &report["unanchored"]),
        (&true.into(), &1.into(), &0.into())
    );
    assert_eq!((&report["checkpoints"], &report["kept"]), (&0.into(), &json!({"seq": 1, "agrees": true})));
    assert_eq!(verify("").await["unanchored"], 1);
    assert_eq!(verify("").await.get("kept"), None);
    let report = verify("?seq=2&hash=00").await;
    assert_eq!((&report["whole"], &report["problem"]["kind"]), (&false.into(), &"missing_tail".into()));
    assert_eq!(report["problem"]["seq"], 2);
    assert_eq!(verify("?seq=1&hash=00").await["problem"]["kind"], "rewritten");
    let half = server.ask(Method::GET, "/audit/verify?seq=1", Body::empty()).await;
    assert_eq!(half.status, StatusCode::BAD_REQUEST);
}

async fn anchored(key: &CheckpointKey) -> Server {
    let server = Server::with(|ports| ports.checkpoint_key = Some(key.clone())).await;
    server.ports.audit.append(some_event()).await.unwrap();
    server
}

async fn checkpoints(server: &Server) -> Vec<Checkpoint> {
    server.ports.audit.checkpoints().await.unwrap()
}

#[tokio::test]
async fn asking_for_the_head_makes_a_checkpoint_once_in_a_minute() {
    let key = CheckpointKey::derive(b"one");
    let server = anchored(&key).await;
    let mut answered = Vec::new();
    for _ in 0..5 {
        server.ports.audit.append(some_event()).await.unwrap();
        let head = server.get("/audit/head").await;
        answered.push(serde_json::from_str::<Checkpoint>(&head.text).unwrap());
        server.clock.advance(Duration::from_secs(14));
    }
    let numbers: Vec<u64> = answered.iter().map(|head| head.head.seq).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6], "each is told the end as it is");
    assert!(answered.iter().all(|head| head.is_authentic(&key)));
    assert_eq!(checkpoints(&server).await, answered[..1]);
    server.get("/audit/head").await;
    assert_eq!(checkpoints(&server).await.len(), 2, "a minute later");
    server.clock.advance(Duration::from_hours(1));
    server.get("/audit/head").await;
    server.runvoy.checkpoint_audit().await.unwrap();
    assert_eq!(checkpoints(&server).await.len(), 2, "nothing new");
    server.ports.audit.append(some_event()).await.unwrap();
    server.runvoy.checkpoint_audit().await.unwrap();
    server.ports.audit.append(some_event()).await.unwrap();
    server.runvoy.checkpoint_audit().await.unwrap();
    assert_eq!(checkpoints(&server).await.len(), 4, "a server that stops anchors everything");
}

#[tokio::test]
async fn a_replaced_key_anchors_the_same_end_anew() {
    let (lost, new) = (CheckpointKey::derive(b"lost"), CheckpointKey::derive(b"new"));
    let server = anchored(&new).await;
    let head = server.ports.audit.head().await.unwrap();
    let old = Checkpoint::new(server.clock.now(), head, Some(&lost));
    server.ports.audit.add_checkpoint(&old).await.unwrap();
    let before = server.get("/audit/verify").await.json();
    assert_eq!((&before["whole"], &before["problem"]["kind"]), (&false.into(), &"bad_checkpoint".into()));
    assert_eq!((&before["records"], &before["unanchored"]), (&1.into(), &1.into()));
    server.get("/audit/head").await;
    let after = server.get("/audit/verify").await.json();
    assert_eq!(
        (&after["whole"], &after["unanchored"], &after["checkpoints"]),
        (&true.into(), &0.into(), &1.into())
    );
    let named = json!([{"seq": 1, "at": old.at.to_string(), "agrees": true}]);
    assert_eq!((&after["unauthentic"], &after["unauthentic_checkpoints"]), (&1.into(), &named));
}

/// A log that somebody else's code makes strange.
struct Strange {
    log: MemoryAuditLog,
    /// What every read answers in place of the records.
    records: Option<Vec<AuditRecord>>,
    /// How long a read takes.
    takes: Duration,
}

#[async_trait]
impl AuditLog for Strange {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        self.log.append(event).await
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        tokio::time::sleep(self.takes).await;
        match &self.records {
            Some(records) => Ok(records.clone()),
            None => self.log.read(after, limit).await,
        }
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.log.head().await
    }
    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.log.add_checkpoint(checkpoint).await
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.log.checkpoints().await
    }
}

async fn strange(records: Option<Vec<AuditRecord>>, takes: Duration) -> Server {
    let log = Strange { log: MemoryAuditLog::default(), records, takes };
    Server::with(|ports| ports.audit = Arc::new(log)).await
}

#[tokio::test]
async fn numbers_that_do_not_grow_end_an_export_and_are_found() {
    let record = AuditRecord::after(&Head::default(), &runvoy_core::audit::body(&some_event()).unwrap());
    for seq in [0, 1] {
        let forged = vec![AuditRecord { seq, ..record.clone() }; 1000];
        let server = strange(Some(forged), Duration::ZERO).await;
        for path in ["/audit?after=1", "/audit?after=7&user=a@b.test", &format!("/trace/{}", "0".repeat(32))]
        {
            let answer = server.get(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer:?}");
        }
        let report = server.get("/audit/verify").await.json();
        assert_eq!(report["problem"]["seq"], seq + 1, "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_takes_long_is_heard_of() {
    let server = strange(None, Duration::from_secs(35)).await;
    let answer = server.get("/audit/verify").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.text.starts_with("\n\n{"), "{answer:?}");
    assert_eq!(answer.json()["records"], 0);
    let quick = strange(None, Duration::from_secs(9)).await;
    assert!(quick.get("/audit/verify").await.text.starts_with('{'));
}
