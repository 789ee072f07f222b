//! What every process of a story shares, and a process over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use runvoy_core::Runvoy;
use runvoy_core::execution::Patch;
use runvoy_core::locks::{LockAnswer, LockCommand};
use runvoy_core::port::*;
use runvoy_core::state::Status;
use runvoy_core::testing::ManualClock;
use runvoy_local::memory::{
    MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLockManager, MemoryLogs,
};

use super::fuse::{Fuse, Fused};
use super::world::World;

/// Allows everything, or nothing that is asked about a run again when its turn comes.
#[derive(Default)]
pub(crate) struct AllowAll {
    pub(crate) revoked: AtomicBool,
}

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        let denied = self.revoked.load(Ordering::SeqCst) && request.action.has_context();
        Ok(if denied { Decision::Deny { policy: None } } else { Decision::Allow { policy: None } })
    }
}

/// What every process of a story shares.
pub(crate) struct Lasting {
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) executions: Arc<dyn ExecutionStore>,
    pub(crate) locks: Arc<dyn LockManager>,
    pub(crate) logs: Arc<dyn LogSource>,
    pub(crate) audit: Arc<dyn AuditLog>,
    /// Where audit log, execution store and locks take a run in together.
    pub(crate) intake: Option<Arc<dyn Intake>>,
    pub(crate) authorizer: Arc<AllowAll>,
}

impl Lasting {
    pub(crate) fn new(clock: &Arc<ManualClock>, one_step: bool, secrets: Arc<dyn SecretStore>) -> Self {
        let executions: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::default());
        let audit: Arc<dyn AuditLog> = Arc::new(MemoryAuditLog::default());
        let locks: Arc<dyn LockManager> = Arc::new(MemoryLockManager::default());
        let together = || -> Arc<dyn Intake> {
            let apart = Apart { audit: audit.clone(), executions: executions.clone() };
            Arc::new(Together { apart, executions: executions.clone(), locks: locks.clone() })
        };
        Self {
            secrets,
            keys: Arc::new(MemoryKeyStore::default()),
            locks: locks.clone(),
            logs: Arc::new(MemoryLogs::new(clock.clone())),
            intake: one_step.then(together),
            authorizer: Arc::default(),
            executions,
            audit,
        }
    }
}

/// All of it in one step: nobody is between the parts, since in memory none waits for anything.
struct Together {
    apart: Apart,
    executions: Arc<dyn ExecutionStore>,
    locks: Arc<dyn LockManager>,
}

#[async_trait]
impl Intake for Together {
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Taken, IntakeError> {
        let taken = self.apart.take_in(events, new).await?;
        let Taken::New(record) = &taken else { return Ok(taken) };
        let Some(wanted) = &record.lock else { return Ok(taken) };
        let now = record.created_at;
        let answer = self.locks.command(&wanted.name, LockCommand::if_free(record), now).await;
        let LockAnswer::Granted(holder) = answer.map_err(IntakeError::Executions)? else { return Ok(taken) };
        let patch = Patch::granted(wanted, &holder, now);
        let begun = self.executions.transition(record.id, &[Status::Queued], &patch).await;
        match begun.map_err(IntakeError::Executions)? {
            Transition::Applied(record) | Transition::Refused(record) => Ok(Taken::New(record)),
        }
    }
}

pub(crate) fn assemble(
    fuse: &Arc<Fuse>,
    clock: &Arc<ManualClock>,
    world: &Arc<World>,
    lasting: &Lasting,
) -> Runvoy {
    fn fused<T: ?Sized>(fuse: &Arc<Fuse>, inner: &Arc<T>) -> Arc<Fused<T>> {
        Arc::new(Fused { fuse: Arc::clone(fuse), inner: Arc::clone(inner) })
    }
    let executor: Arc<dyn Executor> = world.clone();
    let authorizer: Arc<dyn Authorizer> = lasting.authorizer.clone();
    let mut builder = Runvoy::builder();
    if let Some(intake) = &lasting.intake {
        builder = builder.intake(fused(fuse, intake));
    }
    builder
        .keys(fused(fuse, &lasting.keys))
        .executions(fused(fuse, &lasting.executions))
        .locks(fused(fuse, &lasting.locks))
        .secrets(fused(fuse, &lasting.secrets))
        .executor(fused(fuse, &executor))
        .logs(fused(fuse, &lasting.logs))
        .audit(fused(fuse, &lasting.audit))
        .authorizer(fused(fuse, &authorizer))
        .clock(clock.clone())
        .build()
        .unwrap()
}
