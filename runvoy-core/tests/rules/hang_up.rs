//! Whoever hangs up in the middle of a request leaves nothing half done.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::execution::Execution;
use runvoy_core::id::IdPrefix;
use runvoy_core::key::ApiKey;
use runvoy_core::port::{ExecutionStore, Executor, ListQuery, LockManager, TaskEvent};
use runvoy_core::state::Status;
use runvoy_core::testing::ManualClock;
use runvoy_core::{Caller, Error, ForcedRelease, RequestContext, Runvoy};
use runvoy_local::memory::{
    MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLockManager, MemoryLogs,
};

use super::fuse::{Fuse, Fused};
use super::world::World;

struct Slow {
    runvoy: Runvoy,
    caller: Caller,
    world: Arc<World>,
    executions: Arc<dyn ExecutionStore>,
}

/// Ports that let everything else run before and after each call, which is where a request can be dropped.
async fn slow_service() -> Slow {
    let clock = Arc::new(ManualClock::default());
    let world = Arc::new(World::new(Arc::clone(&clock)));
    let executions: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::default());
    let executor: Arc<dyn Executor> = world.clone();
    let locks: Arc<dyn LockManager> = Arc::new(MemoryLockManager::default());
    let fuse = Fuse::none();
    let runvoy = Runvoy::builder()
        .keys(Arc::new(MemoryKeyStore::default()))
        .executions(Arc::new(Fused { fuse: Arc::clone(&fuse), inner: executions.clone() }))
        .locks(Arc::new(Fused { fuse: Arc::clone(&fuse), inner: locks }))
        .executor(Arc::new(Fused { fuse, inner: executor }))
        .logs(Arc::new(MemoryLogs::new(clock.clone())))
        .audit(Arc::new(MemoryAuditLog::default()))
        .authorizer(Arc::new(CedarAuthorizer::builtin()))
        .clock(clock)
        .build()
        .unwrap();
    let key = ApiKey::generate();
    runvoy.bootstrap_admin("admin@localhost".parse().unwrap(), &key).await.unwrap();
    let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await.unwrap();
    Slow { runvoy, caller, world, executions }
}

impl Slow {
    async fn run(&self, lock: Option<&str>) -> Result<Execution, Error> {
        let request = RunRequest {
            lock: lock.map(ToOwned::to_owned),
            on_lock_held: lock.map(|_| "queue".to_owned()),
            ..RunRequest::new(Command::Shell("true".to_owned()))
        };
        self.runvoy.run(&self.caller, request, None).await
    }

    /// Asks, and hangs up after so many polls.
    async fn hang_up_after<T>(&self, polls: usize, asked: impl Future<Output = T>) {
        let mut asked = pin!(asked);
        for _ in 0..polls {
            if futures_util::poll!(&mut asked).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn settled(&self) {
        self.runvoy.drain();
        self.runvoy.settled().await;
    }
}

/// More polls than any request needs.
const POLLS: usize = 60;

#[tokio::test]
async fn whoever_hangs_up_leaves_no_start_half_done() {
    let mut recorded = 0;
    for polls in 1..POLLS {
        for lock in [None, Some("prod")] {
            let slow = slow_service().await;
            slow.hang_up_after(polls, slow.run(lock)).await;
            slow.settled().await;
            let all = ListQuery { limit: 10, ..ListQuery::default() };
            for record in slow.executions.list(&all).await.unwrap().executions {
                recorded += 1;
                let pending = slow.world.job(record.id).pending;
                assert_eq!(pending, 1, "after {polls} polls it is recorded and not started");
            }
        }
    }
    assert!(recorded > 0);
}

#[tokio::test]
async fn whoever_hangs_up_over_a_kill_leaves_nobody_waiting() {
    let mut stopped = 0;
    for polls in 1..POLLS {
        for how in [None, Some(ForcedRelease::StopHolder), Some(ForcedRelease::Abandon)] {
            let slow = slow_service().await;
            let holder = slow.run(Some("prod")).await.unwrap().id;
            let waiter = slow.run(Some("prod")).await.unwrap().id;
            let (prefix, name) = (IdPrefix::from(holder), "prod".parse().unwrap());
            match how {
                None => {
                    slow.hang_up_after(polls, slow.runvoy.kill(&slow.caller, &prefix, None)).await;
                }
                Some(how) => {
                    let release = slow.runvoy.force_release(&slow.caller, &name, how);
                    slow.hang_up_after(polls, release).await;
                }
            }
            slow.settled().await;
            let record = slow.executions.get(holder).await.unwrap().unwrap();
            let abandoned = record.lock.as_ref().is_some_and(|lock| lock.abandoned_by.is_some());
            if record.stop.is_some() || abandoned {
                stopped += 1;
                assert_eq!(slow.world.job(waiter).pending, 1, "{how:?}, after {polls} polls");
            }
        }
    }
    assert!(stopped > POLLS, "{stopped}");
}

#[tokio::test]
async fn a_lock_is_abandoned_with_its_mark_whatever_the_holder_does_meanwhile() {
    for head_start in 0..30 {
        let slow = slow_service().await;
        let holder = slow.run(Some("prod")).await.unwrap().id;
        let waiter = slow.run(Some("prod")).await.unwrap().id;
        slow.world.claim(holder);
        let running = TaskEvent { id: holder, state: slow.world.state(holder) };
        let name = "prod".parse().unwrap();
        let hear = async {
            for _ in 0..head_start {
                tokio::task::yield_now().await;
            }
            slow.runvoy.on_task_event(&running).await
        };
        let release = slow.runvoy.force_release(&slow.caller, &name, ForcedRelease::Abandon);
        let (heard, released) = tokio::join!(hear, release);
        heard.unwrap();
        released.unwrap();

        let record = slow.executions.get(holder).await.unwrap().unwrap();
        let next = slow.executions.get(waiter).await.unwrap().unwrap();
        assert_eq!(record.status, Status::Running);
        assert_eq!((next.status, next.lock.unwrap().after_abandoned), (Status::Starting, Some(holder)));
        let by = record.lock.unwrap().abandoned_by;
        assert_eq!(by.as_ref(), Some(slow.caller.user()), "with a head start of {head_start}");
    }
}
