//! A store that does not answer for a while delays what needs it, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::audit::{AuditRecord, Checkpoint, Head};
use runvoy_core::clock::Clock as _;
use runvoy_core::execution::Execution;
use runvoy_core::id::{ExecutionId, IdPrefix, LockName};
use runvoy_core::locks::{LockAnswer, LockCommand, LockDocument};
use runvoy_core::port::{AuditEvent, AuditKind, AuditLog, ExecutionStore as _, LockManager, StoreError};
use runvoy_core::state::Status;
use runvoy_core::testing::ManualClock;
use runvoy_core::{Caller, ForcedRelease, KillOutcome, ReconcileOptions, Runvoy};
use runvoy_local::memory::{
    MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLockManager, MemorySecretStore,
};

use super::service::Ports;
use super::world::World;

fn down() -> StoreError {
    StoreError::unavailable("switched off by the test")
}

/// An audit log that takes no outcomes while it is switched off.
#[derive(Default)]
struct Outcomes {
    inner: MemoryAuditLog,
    off: AtomicBool,
}

#[async_trait]
impl AuditLog for Outcomes {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        if event.kind == AuditKind::Outcome && self.off.load(Ordering::SeqCst) {
            return Err(down());
        }
        self.inner.append(event).await
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

/// What of a lock manager does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Off {
    Nothing,
    Reads,
    Everything,
}

struct Locks {
    inner: MemoryLockManager,
    off: Mutex<Off>,
}

impl Locks {
    fn switch(&self, off: Off) {
        *self.off.lock().unwrap() = off;
    }

    fn read(&self) -> Result<(), StoreError> {
        let is_off = *self.off.lock().unwrap() != Off::Nothing;
        if is_off { Err(down()) } else { Ok(()) }
    }
}

#[async_trait]
impl LockManager for Locks {
    async fn command(
        &self,
        name: &LockName,
        command: LockCommand,
        now: Timestamp,
    ) -> Result<LockAnswer, StoreError> {
        if *self.off.lock().unwrap() == Off::Everything {
            return Err(down());
        }
        self.inner.command(name, command, now).await
    }
    async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError> {
        self.read()?;
        self.inner.show(name).await
    }
    async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError> {
        self.read()?;
        self.inner.list().await
    }
}

struct Bench {
    runvoy: Runvoy,
    caller: Caller,
    world: Arc<World>,
    clock: Arc<ManualClock>,
    executions: Arc<MemoryExecutionStore>,
    audit: Arc<Outcomes>,
    locks: Arc<Locks>,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let world = Arc::new(World::new(Arc::clone(&clock)));
        let executions = Arc::new(MemoryExecutionStore::default());
        let audit = Arc::new(Outcomes::default());
        let locks = Arc::new(Locks { inner: MemoryLockManager::default(), off: Mutex::new(Off::Nothing) });
        let ports = Ports {
            keys: Arc::new(MemoryKeyStore::default()),
            executions: executions.clone(),
            locks: locks.clone(),
            secrets: Arc::new(MemorySecretStore::default()),
            audit: audit.clone(),
            world: Arc::clone(&world),
            clock: Arc::clone(&clock),
        };
        let (runvoy, caller) = ports.service().await;
        Self { runvoy, caller, world, clock, executions, audit, locks }
    }

    async fn run(&self, lock: Option<&str>) -> Execution {
        let request = RunRequest {
            lock: lock.map(ToOwned::to_owned),
            on_lock_held: lock.map(|_| "queue".to_owned()),
            ..RunRequest::new(Command::Shell("make".to_owned()))
        };
        self.runvoy.run(&self.caller, request, None).await.unwrap()
    }

    async fn kill(&self, id: ExecutionId) -> KillOutcome {
        self.runvoy.kill(&self.caller, &IdPrefix::from(id), None).await.unwrap()
    }

    async fn status(&self, id: ExecutionId) -> Status {
        self.executions.get(id).await.unwrap().unwrap().status
    }

    async fn outcomes_of(&self, id: ExecutionId) -> usize {
        let all = self.audit.inner.read(0, 1000).await.unwrap();
        let is_it = |record: &&AuditRecord| {
            let event = record.event().unwrap();
            event.kind == AuditKind::Outcome && event.resource.contains(&id.to_string())
        };
        all.iter().filter(is_it).count()
    }
}

#[tokio::test]
async fn a_kill_works_while_the_audit_log_takes_no_outcomes() {
    let bench = Bench::new().await;
    let holder = bench.run(Some("prod")).await.id;
    let waiter = bench.run(Some("prod")).await.id;
    bench.audit.off.store(true, Ordering::SeqCst);
    let outcome = bench.kill(holder).await;
    assert!(matches!(&outcome, KillOutcome::Initiated(record) if record.status == Status::Stopped));
    assert_eq!(bench.status(waiter).await, Status::Starting, "the lock was passed on");
    assert_eq!(bench.outcomes_of(holder).await, 0);

    bench.audit.off.store(false, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(61));
    bench.runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
    assert_eq!(bench.outcomes_of(holder).await, 1, "what was owed is paid");
}

#[tokio::test]
async fn whoever_is_next_starts_although_the_line_cannot_be_read() {
    let bench = Bench::new().await;
    let holder = bench.run(Some("prod")).await.id;
    let (second, third) = (bench.run(Some("prod")).await.id, bench.run(Some("prod")).await.id);
    bench.locks.switch(Off::Reads);
    bench.kill(holder).await;
    assert_eq!(bench.status(second).await, Status::Starting);
    bench.kill(third).await;
    bench.kill(second).await;
    bench.locks.switch(Off::Nothing);
    assert!(bench.locks.inner.show(&"prod".parse().unwrap()).await.unwrap().is_free());
}

#[tokio::test]
async fn a_kill_works_while_locks_do_not_answer_and_the_lock_follows() {
    let bench = Bench::new().await;
    let holder = bench.run(Some("prod")).await.id;
    let waiter = bench.run(Some("prod")).await.id;
    bench.locks.switch(Off::Everything);
    assert!(matches!(bench.kill(holder).await, KillOutcome::Initiated(_)));
    assert_eq!(bench.status(waiter).await, Status::Queued);
    bench.locks.switch(Off::Nothing);
    let report = bench.runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
    assert_eq!(report.handed_over, 1);
    assert_eq!(bench.status(waiter).await, Status::Starting);
}

#[tokio::test]
async fn what_needs_no_lock_is_mended_while_locks_do_not_answer() {
    let bench = Bench::new().await;
    let (ended, waiter) = (bench.run(None).await.id, {
        bench.run(Some("prod")).await;
        bench.run(Some("prod")).await.id
    });
    bench.world.claim(ended);
    bench.world.exit(ended, 0);
    bench.locks.switch(Off::Everything);
    bench.clock.advance(Duration::from_secs(61));
    bench.runvoy.reconcile(ReconcileOptions::default()).await.unwrap_err();
    assert_eq!(bench.status(ended).await, Status::Succeeded);
    assert_eq!(bench.status(waiter).await, Status::Queued, "its place in line is not forgotten");
    bench.locks.switch(Off::Nothing);
    let lock = bench.locks.show(&"prod".parse().unwrap()).await.unwrap();
    assert_eq!(lock.position(waiter), Some(1));
}

#[tokio::test]
async fn a_holder_that_loses_the_lock_before_its_turn_begins_runs_no_more() {
    let bench = Bench::new().await;
    let holder = bench.run(Some("prod")).await.id;
    let (second, third) = (bench.run(Some("prod")).await.id, bench.run(Some("prod")).await.id);
    let name: LockName = "prod".parse().unwrap();
    // Whoever passed the lock on died before the new holder's turn began.
    let token = bench.locks.show(&name).await.unwrap().holder.as_ref().unwrap().token;
    bench.locks.command(&name, LockCommand::Release { token }, bench.clock.now()).await.unwrap();
    let lost = bench.runvoy.force_release(&bench.caller, &name, ForcedRelease::Abandon).await.unwrap();
    assert_eq!(lost.execution, second);
    assert_eq!(bench.status(second).await, Status::Stopped);
    assert_eq!(bench.status(third).await, Status::Starting);
    bench.clock.advance(Duration::from_secs(61));
    bench.runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
    assert_eq!(bench.world.job(second).pending, 0);
    assert_eq!(bench.status(holder).await, Status::Starting);
}
