//! Mocks of the ports, by `mockall`: `MockKeyStore::new()`, then `expect_find()` and so on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use mockall::mock;

use crate::account::{Account, ClaimOutcome, KeyExpiry, NewClaim};
use crate::audit::{AuditRecord, Checkpoint, Head};
use crate::claim::HashedToken;
use crate::code::CodeDigest;
use crate::execution::{Execution, Patch, StartRequest, TaskHandle};
use crate::id::{Email, ExecutionId, IdPrefix, LockName, RequestId, Role, SecretName};
use crate::images::{Image, ImageAnswer, ImageCommand};
use crate::key::HashedKey;
use crate::locks::{LockAnswer, LockCommand, LockDocument};
use crate::log::Cursor;
use crate::port::{
    Action, AuditEvent, AuditLog, Authorizer, AuthorizerError, AuthzRequest, Capabilities, Claim, CodeBody,
    CodeError, CodeStore, Created, Decision, ExecutionStore, Executor, ExecutorError, ImageRegistry, Intake,
    IntakeError, KeyRecord, KeyStore, ListQuery, LockManager, LogError, LogPage, LogSource, NewExecution,
    Page, Principal, ReadLimit, SecretCreated, SecretStore, StartTask, StoreError, Taken, TaskEvent,
    TaskState, TraceLine, TraceLog, Transition, User,
};
use crate::secrets::{Secret, SecretChange, SecretValue};
use crate::state::Status;

mock! {
    /// An intake that does what a test tells it.
    pub Intake {}

    #[async_trait]
    impl Intake for Intake {
        async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Taken, IntakeError>;
    }
}

mock! {
    /// A code store that does what a test tells it.
    pub CodeStore {}

    #[async_trait]
    impl CodeStore for CodeStore {
        async fn find(&self, digest: CodeDigest, now: Timestamp) -> Result<Option<u64>, StoreError>;
        async fn put(
            &self,
            digest: CodeDigest,
            body: CodeBody,
            limit: u64,
            now: Timestamp,
        ) -> Result<u64, CodeError>;
        async fn doubt(&self, digest: CodeDigest) -> Result<(), StoreError>;
        async fn remove_unused(&self, before: Timestamp) -> Result<Vec<CodeDigest>, StoreError>;
    }
}

mock! {
    /// A key store that does what a test tells it.
    pub KeyStore {}

    #[async_trait]
    impl KeyStore for KeyStore {
        async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError>;
        async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError>;
        async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError>;
        async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError>;
        async fn pending(&self, token: &HashedToken) -> Result<Option<Account>, StoreError>;
        async fn claim(
            &self,
            token: &HashedToken,
            key: HashedKey,
            now: Timestamp,
            request: RequestId,
        ) -> Result<ClaimOutcome, StoreError>;
        async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError>;
        async fn rotate(
            &self,
            email: &Email,
            claim: NewClaim,
            expiry: KeyExpiry,
            request: RequestId,
        ) -> Result<User, StoreError>;
        async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError>;
        async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError>;
        async fn user(&self, email: &Email) -> Result<Option<User>, StoreError>;
        async fn list(&self) -> Result<Vec<User>, StoreError>;
    }
}

mock! {
    /// A lock manager that does what a test tells it.
    pub LockManager {}

    #[async_trait]
    impl LockManager for LockManager {
        async fn command(
            &self,
            name: &LockName,
            command: LockCommand,
            now: Timestamp,
        ) -> Result<LockAnswer, StoreError>;
        async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError>;
        async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError>;
    }
}

mock! {
    /// An image registry that does what a test tells it.
    pub ImageRegistry {}

    #[async_trait]
    impl ImageRegistry for ImageRegistry {
        async fn command(&self, command: ImageCommand) -> Result<ImageAnswer, StoreError>;
        async fn list(&self) -> Result<Arc<[Image]>, StoreError>;
    }
}

mock! {
    /// A secret store that does what a test tells it.
    pub SecretStore {}

    #[async_trait]
    impl SecretStore for SecretStore {
        async fn create(&self, secret: Secret, value: SecretValue) -> Result<SecretCreated, StoreError>;
        async fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError>;
        async fn list(&self) -> Result<Vec<Secret>, StoreError>;
        async fn verify(&self) -> Result<Vec<SecretName>, StoreError>;
        async fn reveal(
            &self,
            name: &SecretName,
            made_by: RequestId,
        ) -> Result<Option<(Secret, SecretValue)>, StoreError>;
        async fn update(
            &self,
            name: &SecretName,
            made_by: RequestId,
            change: SecretChange,
        ) -> Result<Option<Secret>, StoreError>;
        async fn delete(&self, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, StoreError>;
    }
}

mock! {
    /// An execution store that does what a test tells it.
    pub ExecutionStore {}

    #[async_trait]
    impl ExecutionStore for ExecutionStore {
        async fn create(&self, new: NewExecution) -> Result<Created, StoreError>;
        async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError>;
        async fn find(&self, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, StoreError>;
        async fn transition(
            &self,
            id: ExecutionId,
            from: &[Status],
            patch: &Patch,
        ) -> Result<Transition, StoreError>;
        async fn request(&self, id: ExecutionId) -> Result<Option<StartRequest>, StoreError>;
        async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;
        async fn outcomes_owed(&self, limit: usize) -> Result<Vec<Execution>, StoreError>;
        async fn outcome_recorded(&self, id: ExecutionId) -> Result<(), StoreError>;
    }
}

mock! {
    /// An audit log that does what a test tells it.
    pub AuditLog {}

    #[async_trait]
    impl AuditLog for AuditLog {
        async fn append(&self, event: AuditEvent) -> Result<u64, StoreError>;
        async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;
        async fn head(&self) -> Result<Head, StoreError>;
        async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError>;
        async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;
    }
}

mock! {
    /// A server's own log that does what a test tells it.
    pub TraceLog {}

    #[async_trait]
    impl TraceLog for TraceLog {
        async fn read(&self, request: RequestId, limit: usize) -> Result<Vec<TraceLine>, StoreError>;
    }
}

mock! {
    /// An executor that does what a test tells it.
    pub Executor {}

    #[async_trait]
    impl Executor for Executor {
        fn capabilities(&self) -> Capabilities;
        async fn admit(&self) -> Result<(), ExecutorError>;
        async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError>;
        async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError>;
        async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError>;
        async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError>;
        fn events(&self) -> BoxStream<'static, TaskEvent>;
    }
}

mock! {
    /// A log source that does what a test tells it, by `expect_read_after()` and so on: the mock cannot keep a
    /// borrowed cursor, so it is given one of its own.
    pub LogSource {
        /// Answers [`LogSource::read`].
        pub fn read_after(
            &self,
            id: ExecutionId,
            after: Option<Cursor>,
            limit: ReadLimit,
        ) -> Result<LogPage, LogError>;
        /// Answers [`LogSource::tail`].
        pub fn tail_of(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError>;
        /// Answers [`LogSource::changed`].
        pub fn changed_after(
            &self,
            id: ExecutionId,
            after: Option<Cursor>,
            at_most: Duration,
        ) -> Result<(), LogError>;
    }
}

#[async_trait]
impl LogSource for MockLogSource {
    async fn read(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        limit: ReadLimit,
    ) -> Result<LogPage, LogError> {
        self.read_after(id, after.cloned(), limit)
    }

    async fn tail(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError> {
        self.tail_of(id, events)
    }

    async fn changed(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        at_most: Duration,
    ) -> Result<(), LogError> {
        self.changed_after(id, after.cloned(), at_most)
    }
}

mock! {
    /// An authorizer that does what a test tells it, by `expect_decide()`: the mock cannot keep what a request
    /// borrows, so it is given the parts of it that it owns.
    pub Authorizer {
        /// Decides on user, role, action, and the resource as it is written.
        pub fn decide(
            &self,
            user: Email,
            role: Role,
            action: Action,
            resource: String,
        ) -> Result<Decision, AuthorizerError>;
    }
}

#[async_trait]
impl Authorizer for MockAuthorizer {
    async fn authorize(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        let Principal { user, role } = request.principal;
        self.decide(user.clone(), role, request.action, request.resource.to_string())
    }
}
