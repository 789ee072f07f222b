//! The directory of policies over a disk that changes and an audit log that fails. Time is wound by the runtime.

#![cfg(feature = "memory")]

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use runvoy_core::audit::{AuditRecord, Checkpoint, Head};
use runvoy_core::clock::SystemClock;
use runvoy_core::port::{AuditEvent, AuditLog, Authorizer as _, StoreError};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::memory::{
    MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLockManager, MemoryLogs, ScriptedExecutor,
};

/// An audit log that fails as often as it is told to.
#[derive(Default)]
struct Flaky {
    inner: MemoryAuditLog,
    failures: AtomicU32,
}

#[async_trait]
impl AuditLog for Flaky {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let fails =
            self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match fails {
            Ok(_) => Err(StoreError::unavailable("the wire is cut")),
            Err(_) => self.inner.append(event).await,
        }
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

/// Warnings and errors of the log.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Told {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        if *event.metadata().level() <= tracing::Level::WARN {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

struct Bench {
    root: TempDir,
    audit: Arc<Flaky>,
    authorizer: Arc<CedarAuthorizer>,
    told: Told,
    _log: tracing::subscriber::DefaultGuard,
    _follows: JoinSet<()>,
}

impl Bench {
    /// Follows `policies` of a new directory, where `prepare` has made it.
    fn new(failures: u32, prepare: impl FnOnce(&Path)) -> Self {
        let (root, told) = (tempfile::tempdir().unwrap(), Told::default());
        let subscriber = tracing_subscriber::registry().with(told.clone());
        let log = tracing::subscriber::set_default(subscriber);
        prepare(root.path());
        let policies = PolicyDir::open(&root.path().join("policies")).unwrap();
        let authorizer = policies.authorizer();
        let audit = Arc::new(Flaky::default());
        audit.failures.store(failures, Ordering::Relaxed);
        let logs = Arc::new(MemoryLogs::new(Arc::new(SystemClock)));
        let runvoy = Runvoy::builder()
            .keys(Arc::new(MemoryKeyStore::new()))
            .executions(Arc::new(MemoryExecutionStore::default()))
            .locks(Arc::new(MemoryLockManager::default()))
            .executor(Arc::new(ScriptedExecutor::manual(Arc::clone(&logs), Arc::new(SystemClock))))
            .logs(logs)
            .audit(audit.clone())
            .authorizer(authorizer.clone())
            .build()
            .unwrap();
        let mut follows = JoinSet::new();
        follows.spawn(policies.follow(runvoy, Arc::default()));
        Self { root, audit, authorizer, told, _log: log, _follows: follows }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The policies in force that are not built in.
    fn in_force(&self) -> Vec<String> {
        let policies = self.authorizer.policies().policies;
        policies.into_iter().filter(|it| it.file.is_some()).map(|it| it.id.0.to_string()).collect()
    }

    /// Waits until exactly this policy is in force.
    async fn until(&self, policy: &str) {
        for _ in 0..10_000 {
            if self.in_force() == [policy] {
                return;
            }
            sleep(STILL).await;
        }
        panic!("{policy} is not in force: {:?}, {:?}", self.in_force(), self.told.0.lock().unwrap());
    }

    async fn recorded(&self) -> Vec<(String, String)> {
        let records = self.audit.inner.read(0, 100).await.unwrap();
        let events = records.iter().map(|record| record.event().unwrap());
        events.map(|event| (event.action, event.detail.unwrap())).collect()
    }

    fn told(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }
}

fn write(dir: &Path, policy: &str) {
    std::fs::create_dir_all(dir).unwrap();
    let text = format!(r#"@id("{policy}") forbid (principal, action == Action::"run", resource);"#);
    std::fs::write(dir.join("own.cedar"), text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn policies_are_recorded_at_the_start_and_before_each_change_and_tried_again_until_they_are() {
    let bench = Bench::new(3, |root| write(&root.join("policies"), "one"));
    sleep(Duration::from_mins(1)).await;
    let first = bench.recorded().await;
    assert!(matches!(&first[..], [(action, _)] if action == "load_policies"), "{first:?}");

    bench.audit.failures.store(5, Ordering::Relaxed);
    write(&bench.path("policies"), "two");
    bench.until("two").await;
    let all = bench.recorded().await;
    assert_eq!((all.len(), all[1].0.as_str()), (2, "reload_policies"));
    for (_, detail) in &all {
        assert!(detail.starts_with("own.cedar; sha256 "), "{detail}");
    }
    assert_ne!(all[0].1, all[1].1, "another digest");
    let told = bench.told();
    assert_eq!(told.len(), 2, "each trouble is told once: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_replaced_is_read() {
    let bench = Bench::new(0, |root| {
        write(&root.join("policies"), "one");
        write(&root.join("next"), "two");
    });
    sleep(EVERY).await;
    std::fs::rename(bench.path("policies"), bench.path("old")).unwrap();
    std::fs::rename(bench.path("next"), bench.path("policies")).unwrap();
    bench.until("two").await;
    write(&bench.path("policies"), "three");
    bench.until("three").await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_comes_to_lead_elsewhere_is_followed() {
    let bench = Bench::new(0, |root| {
        write(&root.join("first"), "one");
        write(&root.join("second"), "two");
        symlink("first", root.join("policies")).unwrap();
        symlink("second", root.join("next")).unwrap();
    });
    sleep(EVERY).await;
    std::fs::rename(bench.path("next"), bench.path("policies")).unwrap();
    bench.until("two").await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_gone_is_told_once_and_changes_nothing() {
    let bench = Bench::new(0, |root| write(&root.join("policies"), "one"));
    sleep(EVERY).await;
    std::fs::rename(bench.path("policies"), bench.path("away")).unwrap();
    sleep(Duration::from_hours(1)).await;
    let told = bench.told();
    assert!(matches!(&told[..], [one] if one.starts_with("WARN") && one.contains("gone")), "{told:?}");
    assert_eq!(bench.in_force(), ["one"]);
    write(&bench.path("away"), "two");
    std::fs::rename(bench.path("away"), bench.path("policies")).unwrap();
    bench.until("two").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_told_once_and_not_tried_again_until_it_changes() {
    let bench = Bench::new(0, |root| write(&root.join("policies"), "one"));
    sleep(EVERY).await;
    std::fs::write(bench.path("policies").join("bad.cedar"), "forbid (principal, action);").unwrap();
    sleep(Duration::from_hours(1)).await;
    let told = bench.told();
    assert!(matches!(&told[..], [one] if one.contains("bad.cedar")), "{told:?}");
    assert_eq!(bench.in_force(), ["one"]);
    std::fs::remove_file(bench.path("policies").join("bad.cedar")).unwrap();
    write(&bench.path("policies"), "two");
    bench.until("two").await;
}
