//! Whoever hangs up in the middle of a request leaves nothing half done.

use std::sync::Arc;

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::key::ApiKey;
use runvoy_core::port::{ExecutionStore, Executor, ListQuery};
use runvoy_core::testing::ManualClock;
use runvoy_core::{RequestContext, Runvoy};
use runvoy_local::memory::{
    MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLockManager, MemoryLogs,
};

use super::fuse::{Fuse, Fused};
use super::world::World;

/// Ports that let everything else run before and after each call, which is where a request can be dropped.
fn slow_service() -> (Runvoy, Arc<World>, Arc<dyn ExecutionStore>) {
    let clock = Arc::new(ManualClock::default());
    let world = Arc::new(World::new(Arc::clone(&clock)));
    let executions: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::default());
    let executor: Arc<dyn Executor> = world.clone();
    let fuse = Fuse::none();
    let runvoy = Runvoy::builder()
        .keys(Arc::new(MemoryKeyStore::default()))
        .executions(Arc::new(Fused { fuse: Arc::clone(&fuse), inner: executions.clone() }))
        .locks(Arc::new(MemoryLockManager::default()))
        .executor(Arc::new(Fused { fuse, inner: executor }))
        .logs(Arc::new(MemoryLogs::new(clock.clone())))
        .audit(Arc::new(MemoryAuditLog::default()))
        .authorizer(Arc::new(CedarAuthorizer::builtin()))
        .clock(clock)
        .build()
        .unwrap();
    (runvoy, world, executions)
}

#[tokio::test]
async fn whoever_hangs_up_leaves_no_start_half_done() {
    let mut recorded = 0;
    for polls in 1..30 {
        for lock in [None, Some("prod".to_owned())] {
            let (runvoy, world, executions) = slow_service();
            let key = ApiKey::generate();
            runvoy.bootstrap_admin("admin@localhost".parse().unwrap(), &key).await.unwrap();
            let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await.unwrap();
            let request = RunRequest { lock, ..RunRequest::new(Command::Shell("true".to_owned())) };
            {
                let mut asked = std::pin::pin!(runvoy.run(&caller, request, None));
                for _ in 0..polls {
                    if futures_util::poll!(&mut asked).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            runvoy.drain();
            runvoy.settled().await;
            let all = ListQuery { limit: 10, ..ListQuery::default() };
            for record in executions.list(&all).await.unwrap().executions {
                recorded += 1;
                assert_eq!(
                    world.job(record.id).pending,
                    1,
                    "after {polls} polls it is recorded and not started"
                );
            }
        }
    }
    assert!(recorded > 0);
}
