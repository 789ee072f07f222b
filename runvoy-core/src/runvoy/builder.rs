use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Config, Inner, Runvoy, audit, changes, page_cache, rates, standing, uses};
use crate::audit::CheckpointKey;
use crate::clock::{SharedClock, SystemClock};
use crate::in_flight::InFlight;
use crate::limits;
use crate::port::{
    Apart, AuditLog, Authorizer, CodeStore, ExecutionStore, Executor, ImageRegistry, Intake, KeyStore,
    LockManager, LogSource, SecretStore, TraceLog,
};
use crate::stream_token::StreamKey;

/// Puts a service together. Setters store, [`build`](Self::build) checks.
#[derive(Default)]
pub struct Builder {
    keys: Option<Arc<dyn KeyStore>>,
    executions: Option<Arc<dyn ExecutionStore>>,
    locks: Option<Arc<dyn LockManager>>,
    images: Option<Arc<dyn ImageRegistry>>,
    secrets: Option<Arc<dyn SecretStore>>,
    code: Option<Arc<dyn CodeStore>>,
    executor: Option<Arc<dyn Executor>>,
    logs: Option<Arc<dyn LogSource>>,
    audit: Option<Arc<dyn AuditLog>>,
    intake: Option<Arc<dyn Intake>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    trace: Option<Arc<dyn TraceLog>>,
    clock: Option<SharedClock>,
    checkpoint_key: Option<CheckpointKey>,
    stream_key: Option<StreamKey>,
    config: Config,
}

/// A port that nobody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service needs {port}: call `Runvoy::builder().{setter}(…)`")]
pub struct BuildError {
    port: &'static str,
    setter: &'static str,
}

impl Builder {
    /// Users and keys.
    pub fn keys(mut self, keys: Arc<dyn KeyStore>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Records of executions.
    pub fn executions(mut self, executions: Arc<dyn ExecutionStore>) -> Self {
        self.executions = Some(executions);
        self
    }

    /// Locks, and who waits for them.
    pub fn locks(mut self, locks: Arc<dyn LockManager>) -> Self {
        self.locks = Some(locks);
        self
    }

    /// Registered images; without them nothing runs where the executor has images.
    pub fn images(mut self, images: Arc<dyn ImageRegistry>) -> Self {
        self.images = Some(images);
        self
    }

    /// Secrets; without them runs that name some are refused.
    pub fn secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Uploaded code; without it runs that name some are refused.
    pub fn code(mut self, code: Arc<dyn CodeStore>) -> Self {
        self.code = Some(code);
        self
    }

    /// What runs tasks.
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = Some(executor);
        self
    }

    /// What reads their logs.
    pub fn logs(mut self, logs: Arc<dyn LogSource>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// What remembers every decision.
    pub fn audit(mut self, audit: Arc<dyn AuditLog>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Where runs are taken in, where audit log, execution store and locks can do that in one step; unless given they are
    /// asked one after the other.
    pub fn intake(mut self, intake: Arc<dyn Intake>) -> Self {
        self.intake = Some(intake);
        self
    }

    /// What decides.
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// The server's own log, by request; without one a trace has no lines.
    pub fn trace(mut self, trace: Arc<dyn TraceLog>) -> Self {
        self.trace = Some(trace);
        self
    }

    /// What tells the time; the machine's clock unless given.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The key of the audit log's checkpoints; without one there are none.
    pub fn checkpoint_key(mut self, key: CheckpointKey) -> Self {
        self.checkpoint_key = Some(key);
        self
    }

    /// What seals stream tokens: those that share it know each other's. One of this process alone unless given.
    pub fn stream_key(mut self, key: StreamKey) -> Self {
        self.stream_key = Some(key);
        self
    }

    /// What an admin may set.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The service; an error names the port that is missing.
    pub fn build(self) -> Result<Runvoy, BuildError> {
        let missing = |port, setter| BuildError { port, setter };
        let keys = self.keys.ok_or(missing("a key store", "keys"))?;
        let executions = self.executions.ok_or(missing("an execution store", "executions"))?;
        let audit = self.audit.ok_or(missing("an audit log", "audit"))?;
        let apart = || Arc::new(Apart { audit: Arc::clone(&audit), executions: Arc::clone(&executions) });
        Ok(Runvoy {
            inner: Arc::new(Inner {
                keys,
                intake: self.intake.unwrap_or_else(|| apart()),
                executions,
                locks: self.locks.ok_or(missing("a lock manager", "locks"))?,
                images: self.images,
                secrets: self.secrets,
                code: self.code,
                executor: self.executor.ok_or(missing("an executor", "executor"))?,
                logs: self.logs.ok_or(missing("a log source", "logs"))?,
                audit,
                authorizer: self.authorizer.ok_or(missing("an authorizer", "authorizer"))?,
                trace: self.trace,
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
                checkpoint_key: self.checkpoint_key,
                stream_key: self.stream_key.unwrap_or_else(StreamKey::random),
                rates: rates::Limits::new(self.config.rates),
                config: self.config,
                changes: Arc::new(changes::Changes::default()),
                pages: page_cache::PageCache::default(),
                revealed: audit::Revealed::default(),
                telling: InFlight::default(),
                key_changes: standing::KeyChanges::default(),
                uses: uses::Uses::default(),
                checking: Arc::new(Semaphore::new(1)),
                uploads: Semaphore::new(limits::UPLOADS),
                draining: CancellationToken::new(),
                begun: TaskTracker::new(),
            }),
        })
    }
}
