//! Ports that crash their process at a chosen call: before the effect, or after it with the answer lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use runvoy_core::audit::{AuditFilter, AuditRecord, Checkpoint, Head};
use runvoy_core::claim::HashedToken;
use runvoy_core::execution::{Execution, Patch, StartRequest, TaskHandle};
use runvoy_core::id::{Email, ExecutionId, IdPrefix, LockName, RequestId, SecretName};
use runvoy_core::key::HashedKey;
use runvoy_core::locks::{LockAnswer, LockCommand, LockDocument};
use runvoy_core::log::Cursor;
use runvoy_core::port::*;
use runvoy_core::secrets::{Secret, SecretChange, SecretValue};
use runvoy_core::state::Status;
use tokio::sync::watch;

/// When in a call the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeTheEffect,
    AfterTheEffect,
}

/// Blows at call number `at`. From then on every call of this process hangs for ever, as a dead process's would.
#[derive(Debug)]
pub(crate) struct Fuse {
    at: usize,
    moment: Moment,
    calls: AtomicUsize,
    bang: watch::Sender<bool>,
}

impl Fuse {
    pub(crate) fn new(at: usize, moment: Moment) -> Arc<Self> {
        Arc::new(Self { at, moment, calls: AtomicUsize::new(0), bang: watch::Sender::new(false) })
    }

    /// One that never blows.
    pub(crate) fn none() -> Arc<Self> {
        Self::new(usize::MAX, Moment::BeforeTheEffect)
    }

    pub(crate) fn is_blown(&self) -> bool {
        *self.bang.borrow()
    }

    /// Runs what a process does; `None` if it died over it, or over something else that it did meanwhile.
    pub(crate) async fn live<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut bang = self.bang.subscribe();
        tokio::select! {
            biased;
            _ = bang.wait_for(|blown| *blown) => None,
            done = work => Some(done),
        }
    }

    async fn call<T>(&self, effect: impl Future<Output = T>) -> T {
        // Whoever runs beside this one gets its turn before and after every effect.
        tokio::task::yield_now().await;
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_blown() || (number == self.at && self.moment == Moment::BeforeTheEffect) {
            self.blow().await;
        }
        let answer = effect.await;
        tokio::task::yield_now().await;
        if number == self.at {
            self.blow().await;
        }
        answer
    }

    async fn blow(&self) {
        self.bang.send_replace(true);
        std::future::pending::<()>().await;
    }
}

/// A port behind a fuse.
pub(crate) struct Fused<T: ?Sized> {
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) inner: Arc<T>,
}

#[async_trait]
impl KeyStore for Fused<dyn KeyStore> {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        self.fuse.call(self.inner.find(key)).await
    }
    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        self.fuse.call(self.inner.insert(user, key)).await
    }
    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        self.fuse.call(self.inner.bootstrap(user, key)).await
    }
    async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        self.fuse.call(self.inner.invite(user, claim, now)).await
    }
    async fn pending(&self, token: &HashedToken) -> Result<Option<Account>, StoreError> {
        self.fuse.call(self.inner.pending(token)).await
    }
    async fn claim(
        &self,
        token: &HashedToken,
        key: HashedKey,
        now: Timestamp,
        request: RequestId,
    ) -> Result<ClaimOutcome, StoreError> {
        self.fuse.call(self.inner.claim(token, key, now, request)).await
    }
    async fn rotate(
        &self,
        email: &Email,
        claim: NewClaim,
        expiry: KeyExpiry,
        request: RequestId,
    ) -> Result<User, StoreError> {
        self.fuse.call(self.inner.rotate(email, claim, expiry, request)).await
    }
    async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError> {
        self.fuse.call(self.inner.note_uses(uses)).await
    }
    async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError> {
        self.fuse.call(self.inner.drop_lapsed(who, now)).await
    }
    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        self.fuse.call(self.inner.revoke(email, request)).await
    }
    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        self.fuse.call(self.inner.user(email)).await
    }
    async fn list(&self) -> Result<Vec<User>, StoreError> {
        self.fuse.call(self.inner.list()).await
    }
}

#[async_trait]
impl ExecutionStore for Fused<dyn ExecutionStore> {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        self.fuse.call(self.inner.create(new)).await
    }
    async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        self.fuse.call(self.inner.get(id)).await
    }
    async fn find(&self, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, StoreError> {
        self.fuse.call(self.inner.find(prefix)).await
    }
    async fn transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Transition, StoreError> {
        self.fuse.call(self.inner.transition(id, from, patch)).await
    }
    async fn request(&self, id: ExecutionId) -> Result<Option<StartRequest>, StoreError> {
        self.fuse.call(self.inner.request(id)).await
    }
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.fuse.call(self.inner.list(query)).await
    }
    async fn outcomes_owed(&self, limit: usize) -> Result<Vec<Execution>, StoreError> {
        self.fuse.call(self.inner.outcomes_owed(limit)).await
    }
    async fn outcome_recorded(&self, id: ExecutionId) -> Result<(), StoreError> {
        self.fuse.call(self.inner.outcome_recorded(id)).await
    }
}

#[async_trait]
impl Intake for Fused<dyn Intake> {
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Created, IntakeError> {
        self.fuse.call(self.inner.take_in(events, new)).await
    }
}

#[async_trait]
impl LockManager for Fused<dyn LockManager> {
    async fn command(
        &self,
        name: &LockName,
        command: LockCommand,
        now: Timestamp,
    ) -> Result<LockAnswer, StoreError> {
        self.fuse.call(self.inner.command(name, command, now)).await
    }
    async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError> {
        self.fuse.call(self.inner.show(name)).await
    }
    async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError> {
        self.fuse.call(self.inner.list()).await
    }
}

#[async_trait]
impl SecretStore for Fused<dyn SecretStore> {
    async fn create(&self, secret: Secret, value: SecretValue) -> Result<SecretCreated, StoreError> {
        self.fuse.call(self.inner.create(secret, value)).await
    }
    async fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError> {
        self.fuse.call(self.inner.get(name)).await
    }
    async fn list(&self) -> Result<Vec<Secret>, StoreError> {
        self.fuse.call(self.inner.list()).await
    }
    async fn verify(&self) -> Result<Vec<SecretName>, StoreError> {
        self.fuse.call(self.inner.verify()).await
    }
    async fn reveal(
        &self,
        name: &SecretName,
        made_by: RequestId,
    ) -> Result<Option<(Secret, SecretValue)>, StoreError> {
        self.fuse.call(self.inner.reveal(name, made_by)).await
    }
    async fn update(
        &self,
        name: &SecretName,
        made_by: RequestId,
        change: SecretChange,
    ) -> Result<Option<Secret>, StoreError> {
        self.fuse.call(self.inner.update(name, made_by, change)).await
    }
    async fn delete(&self, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, StoreError> {
        self.fuse.call(self.inner.delete(name, made_by)).await
    }
}

#[async_trait]
impl Executor for Fused<dyn Executor> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn admit(&self) -> Result<(), ExecutorError> {
        self.fuse.call(self.inner.admit()).await
    }
    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        self.fuse.call(self.inner.start(task)).await
    }
    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        self.fuse.call(self.inner.revoke(id)).await
    }
    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        self.fuse.call(self.inner.stop(id, grace)).await
    }
    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        self.fuse.call(self.inner.describe(ids)).await
    }
    fn events(&self) -> BoxStream<'static, TaskEvent> {
        self.inner.events()
    }
}

#[async_trait]
impl LogSource for Fused<dyn LogSource> {
    async fn read(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        limit: ReadLimit,
    ) -> Result<LogPage, LogError> {
        self.fuse.call(self.inner.read(id, after, limit)).await
    }
    async fn tail(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError> {
        self.fuse.call(self.inner.tail(id, events)).await
    }
    async fn changed(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        at_most: Duration,
    ) -> Result<(), LogError> {
        self.fuse.call(self.inner.changed(id, after, at_most)).await
    }
}

#[async_trait]
impl AuditLog for Fused<dyn AuditLog> {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        self.fuse.call(self.inner.append(event)).await
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.fuse.call(self.inner.read(after, limit)).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.fuse.call(self.inner.head()).await
    }
    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.fuse.call(self.inner.add_checkpoint(checkpoint)).await
    }
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.fuse.call(self.inner.checkpoints()).await
    }
    async fn find(&self, filter: &AuditFilter, after: u64, limit: usize) -> Result<AuditPage, StoreError> {
        self.fuse.call(self.inner.find(filter, after, limit)).await
    }
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.fuse.call(self.inner.last_checkpoint()).await
    }
}

#[async_trait]
impl Authorizer for Fused<dyn Authorizer> {
    async fn authorize(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        self.fuse.call(self.inner.authorize(request)).await
    }
}
