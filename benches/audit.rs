//! What it costs to read an audit log of a million records: to check it, and to find in it what a filter wants.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nobody to tell")]

use std::path::PathBuf;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use runvoy_core::audit::{AuditFilter, Verifier};
use runvoy_core::id::{ExecutionId, RequestId};
use runvoy_core::port::{AuditEvent, AuditKind, AuditLog};
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use tokio::runtime::Runtime;

const RECORDS: u64 = 1_000_000;
const BATCH: u64 = 500;
const PAGE: usize = 1000;

/// One of fifty users does something every second.
fn event(n: u64) -> AuditEvent {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_767_225_600 + i64::try_from(n).unwrap());
    AuditEvent {
        at,
        request_id: RequestId::random(),
        user: format!("user{}@acme.test", n % 50).parse().unwrap(),
        address: Some("192.0.2.7".parse().unwrap()),
        kind: AuditKind::Allowed,
        action: "run".to_owned(),
        resource: format!("execution:{}", ExecutionId::random()),
        policy: Some("builtin.operator-runs".to_owned()),
        detail: Some("make deploy TARGET=staging".to_owned()),
    }
}

async fn fill(log: &Arc<dyn AuditLog>) -> RequestId {
    for batch in 0..RECORDS / BATCH {
        let events = (batch * BATCH..(batch + 1) * BATCH).map(event);
        join_all(events.map(|event| log.append(event))).await;
    }
    let records = log.read(RECORDS / 2, 1).await.unwrap();
    records.first().unwrap().event().unwrap().request_id
}

async fn find(log: &Arc<dyn AuditLog>, filter: &AuditFilter) -> usize {
    let (mut found, mut next) = (0, Some(0));
    while let Some(after) = next {
        let page = log.find(filter, after, PAGE).await.unwrap();
        found += page.records.len();
        next = page.next;
    }
    found
}

/// What a filter cost that reads every record to see what it says.
async fn parse(log: &Arc<dyn AuditLog>, request: RequestId) -> usize {
    let (mut found, mut after) = (0, 0);
    loop {
        let records = log.read(after, PAGE).await.unwrap();
        found += records.iter().filter(|record| record.event().unwrap().request_id == request).count();
        match records.last() {
            Some(last) => after = last.seq,
            None => return found,
        }
    }
}

async fn verify(log: &Arc<dyn AuditLog>) -> u64 {
    let (mut verifier, mut after) = (Verifier::new(Vec::new(), None, None), 0);
    loop {
        let records = log.read(after, PAGE).await.unwrap();
        assert!(records.iter().all(|record| verifier.take(record)));
        match records.last() {
            Some(last) => after = last.seq,
            None => return verifier.finish().records,
        }
    }
}

fn audit(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let beside = std::env::current_exe().unwrap().parent().map_or_else(PathBuf::new, PathBuf::from);
    let dir = tempfile::TempDir::new_in(beside).unwrap();
    let config =
        SqliteConfig { path: dir.path().join("runvoy.db"), master_key: MasterKey::from_bytes([7; 32]) };
    let log = SqliteStores::open(config).unwrap().audit_log();
    let request = runtime.block_on(fill(&log));

    let mut group = c.benchmark_group("a million audit records");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS));
    let none = AuditFilter::default;
    let last_hour = event(RECORDS - 3600).at;
    let filters = [
        ("of a request", AuditFilter { request: Some(request), ..none() }, 1),
        ("of an action that is not there", AuditFilter { action: Some("kill".to_owned()), ..none() }, 0),
        ("of a user", AuditFilter { user: Some(event(7).user), ..none() }, 20_000),
        ("of the last hour", AuditFilter { since: Some(last_hour), ..none() }, 3600),
    ];
    for (name, filter, expected) in filters {
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async { assert_eq!(find(&log, &filter).await, expected) });
        });
    }
    group.bench_function("of a request, by parsing every record", |b| {
        b.to_async(&runtime).iter(|| async { assert_eq!(parse(&log, request).await, 1) });
    });
    group.bench_function("verify", |b| {
        b.to_async(&runtime).iter(|| async { assert_eq!(verify(&log).await, RECORDS) });
    });
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("append 500 at once", |b| {
        b.to_async(&runtime).iter(|| join_all((0..BATCH).map(|n| log.append(event(RECORDS + n)))));
    });
    group.finish();
}

criterion_group!(benches, audit);
criterion_main!(benches);
