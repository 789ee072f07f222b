//! The suite of every audit log, over the one of this example.

#![allow(clippy::unused_async, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::Arc;

use example_conformance::JsonLines;
use runvoy_core::port::AuditLog;
use runvoy_core::testing::Subject;

fn open(path: &Path) -> Subject<dyn AuditLog> {
    let log: Arc<dyn AuditLog> = Arc::new(JsonLines::open(path).unwrap());
    let path = path.to_owned();
    Subject::new(log).reopened_by(move || open(&path))
}

async fn new_log() -> Subject<dyn AuditLog> {
    let dir = tempfile::tempdir().unwrap();
    open(&dir.path().join("audit.jsonl")).keeping(dir)
}

runvoy_core::audit_log_suite!(new_log);

#[test]
fn a_torn_line_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    std::fs::write(&path, "{\"seq\":1,\"at\":\"20").unwrap();
    JsonLines::open(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}
