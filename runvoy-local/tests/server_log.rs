//! The server's own log: as a port, as files, and as what the layer makes of events.

#![cfg(feature = "server")]
#![allow(clippy::indexing_slicing, clippy::unused_async, clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::id::RequestId;
use runvoy_core::port::{TraceLevel, TraceLine, TraceLog};
use runvoy_core::testing::trace_log::TraceHarness;
use runvoy_local::{ServerLog, ServerLogLimits};
use serde_json::Value;
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt as _;

const SMALL: ServerLogLimits =
    ServerLogLimits { file_bytes: 16 * 1024, files: 4, queue_bytes: 4 * 1024 * 1024 };

struct Harness {
    dir: TempDir,
    log: ServerLog,
}

#[async_trait]
impl TraceHarness for Harness {
    fn log(&self) -> Arc<dyn TraceLog> {
        Arc::new(self.log.clone())
    }

    fn write(&self, request: Option<RequestId>, line: TraceLine) {
        self.log.write(request, line);
    }

    async fn reopened(&self) -> Option<Arc<dyn TraceLog>> {
        Some(Arc::new(ServerLog::open(self.dir.path(), SMALL).unwrap()))
    }

    fn keeps(&self) -> usize {
        150
    }
}

async fn make() -> Harness {
    let dir = tempfile::tempdir().unwrap();
    let log = ServerLog::open(dir.path(), SMALL).unwrap();
    Harness { dir, log }
}

mod files {
    use super::make;

    runvoy_core::trace_log_suite!(make);
}

#[cfg(feature = "memory")]
mod memory {
    use super::{Arc, RequestId, TraceHarness, TraceLine, TraceLog, async_trait};
    use runvoy_local::memory::MemoryTraceLog;

    struct Harness(Arc<MemoryTraceLog>);

    #[async_trait]
    impl TraceHarness for Harness {
        fn log(&self) -> Arc<dyn TraceLog> {
            Arc::clone(&self.0) as _
        }

        fn write(&self, request: Option<RequestId>, line: TraceLine) {
            self.0.write(request, line);
        }

        async fn reopened(&self) -> Option<Arc<dyn TraceLog>> {
            None
        }

        fn keeps(&self) -> usize {
            200
        }
    }

    async fn make() -> Harness {
        Harness(Arc::new(MemoryTraceLog::keeping(200)))
    }

    runvoy_core::trace_log_suite!(make);
}

fn line(message: &str) -> TraceLine {
    let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    TraceLine { at, level: TraceLevel::Info, message: message.to_owned() }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_log_takes_no_more_room_than_it_may_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ServerLogLimits { file_bytes: 1000, files: 3, ..SMALL };
    let log = ServerLog::open(dir.path(), limits).unwrap();
    for _ in 0..100 {
        log.write(None, line(&"x".repeat(100)));
    }
    log.flush().await;
    assert_eq!(names(dir.path()), ["server.1.jsonl", "server.2.jsonl", "server.jsonl"]);
    for name in names(dir.path()) {
        let file = dir.path().join(name);
        let data = std::fs::metadata(&file).unwrap();
        assert!(data.len() <= 1000);
        assert_eq!(data.permissions().mode() & 0o777, 0o600);
        assert!(!lines(&file).is_empty(), "every line is whole");
    }
    // One that is longer than a file stands alone.
    let request = RequestId::random();
    log.write(Some(request), line(&"y".repeat(2000)));
    assert_eq!(log.read(request, 1).await.unwrap(), [line(&"y".repeat(2000))]);
}

#[tokio::test]
async fn half_a_line_of_a_killed_server_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("server.jsonl"), "{\"at\":\"2026-").unwrap();
    let log = ServerLog::open(dir.path(), SMALL).unwrap();
    let request = RequestId::random();
    log.write(Some(request), line("whole"));
    assert_eq!(log.read(request, 10).await.unwrap(), [line("whole")]);
}

#[tokio::test]
async fn what_is_lost_is_counted_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing fits into the queue.
    let log = ServerLog::open(dir.path(), ServerLogLimits { queue_bytes: 10, ..SMALL }).unwrap();
    for _ in 0..7 {
        log.write(None, line("lost"));
    }
    log.flush().await;
    let written = lines(&dir.path().join("server.jsonl"));
    assert_eq!(written.len(), 1);
    assert_eq!((&written[0]["level"], &written[0]["fields"]["lines"]), (&"warn".into(), &7.into()));
}

#[tokio::test]
async fn an_event_has_the_request_and_the_fields_of_its_spans() {
    let dir = tempfile::tempdir().unwrap();
    let log = ServerLog::open(dir.path(), SMALL).unwrap();
    let subscriber = tracing_subscriber::registry().with(log.layer());
    let request = RequestId::random();
    tracing::subscriber::with_default(subscriber, || {
        let span =
            tracing::error_span!("request", request.id = %request, path = "/x", user = tracing::field::Empty);
        span.record("user", "dev@acme.test");
        let _in = span.enter();
        tracing::info!(execution.id = "abc", attempts = 2, "first of two words");
        tracing::debug!("not of interest");
        tracing::debug!(target: "runvoy_core::http::request_log", status = 403, "request answered");
        let _inner = tracing::info_span!("inner", path = "inner = \"x\"").entered();
        tracing::warn!("second");
        tracing::info!(parent: None, "of no request");
        tracing::info!(parent: None, request.id = %request, "said by itself");
    });
    let read = log.read(request, 10).await.unwrap();
    // Other crates of a build decide whether JSON objects keep the order of their fields.
    let sorted = |text: &str| {
        let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        words.sort();
        words
    };
    let said: Vec<_> = read.iter().map(|line| sorted(&format!("{} {}", line.level, line.message))).collect();
    let expected = [
        "info first of two words attempts=2 execution.id=abc path=/x user=dev@acme.test",
        "debug request answered path=/x status=403 user=dev@acme.test",
        r#"warn second path="inner = \"x\"" user=dev@acme.test"#,
        "info said by itself",
    ];
    assert_eq!(said, expected.map(sorted));
    assert_eq!(lines(&dir.path().join("server.jsonl")).len(), 5);
}
