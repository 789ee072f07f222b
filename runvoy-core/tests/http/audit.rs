//! The audit log over HTTP.

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::id::Role;
use serde_json::Value;

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
        server.ports.audit.append(runvoy_core::testing::audit_log::some_event()).await.unwrap();
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
    assert_eq!(verify("").await["unanchored"], 1);
    let report = verify("?seq=2&hash=00").await;
    assert_eq!((&report["whole"], &report["problem"]["kind"]), (&false.into(), &"missing_tail".into()));
    assert_eq!(report["problem"]["seq"], 2);
    assert_eq!(verify("?seq=1&hash=00").await["problem"]["kind"], "rewritten");
    let half = server.ask(Method::GET, "/audit/verify?seq=1", Body::empty()).await;
    assert_eq!(half.status, StatusCode::BAD_REQUEST);
}
