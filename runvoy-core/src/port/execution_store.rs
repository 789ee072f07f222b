use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::execution::{Execution, Patch, StartRequest};
use crate::id::{Email, ExecutionId, IdPrefix, LockName};
use crate::state::Status;

/// An execution to be recorded.
#[derive(Clone, Debug)]
pub struct NewExecution {
    /// The record. Its status is one that the state machine begins with.
    pub record: Execution,
    /// What starts it; sealed at rest.
    pub request: StartRequest,
    /// The caller's idempotency key.
    pub idempotency: Option<Idempotency>,
    /// How many may be live beside it.
    pub limits: LiveLimits,
}

/// An idempotency key and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key; scoped to the record's `created_by`.
    pub key: String,
    /// Hash of the canonical request.
    pub fingerprint: [u8; 32],
    /// When the key is forgotten.
    pub expires_at: Timestamp,
}

/// How many executions may be live at once, the new one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveLimits {
    /// In the whole store.
    pub server: Option<u64>,
    /// Of one user.
    pub user: Option<u64>,
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveScope {
    /// The whole store's.
    Server,
    /// The user's.
    User,
}

/// What became of a new execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is recorded.
    New,
    /// The idempotency key stands for this one.
    Existing(Box<Execution>),
    /// Too many are live; nothing is recorded.
    TooMany {
        /// Whose limit.
        scope: LiveScope,
        /// Which limit.
        limit: u64,
    },
}

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Done; the record as it is now.
    Applied(Box<Execution>),
    /// The status was none of those expected, and nothing changed; the record as it is.
    Refused(Box<Execution>),
}

/// A place in a listing: after this record, in the order of the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition {
    /// Its creation time.
    pub created_at: Timestamp,
    /// Its id.
    pub id: ExecutionId,
}

/// Which executions to list. An absent filter lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// One of these statuses.
    pub statuses: Option<Vec<Status>>,
    /// Created by this user.
    pub user: Option<Email>,
    /// That want, hold or held this lock.
    pub lock: Option<LockName>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Only what follows this place.
    pub after: Option<ListPosition>,
    /// At most so many, 1 to [`crate::limits::PAGE`].
    pub limit: usize,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest first, by creation time and then id.
    pub executions: Vec<Execution>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<ListPosition>,
}

/// The records of executions.
///
/// # Contract
///
/// - An answer means durable: what was acknowledged is there after a crash.
/// - [`create`](Self::create) is atomic over record, request, idempotency key and limits. A live key of the same
///   user with the same fingerprint answers [`Created::Existing`], with another [`StoreError::Conflict`]. A key
///   that has expired (at the new record's `created_at`), or whose execution did not get its lock (`lock_held`), is
///   free. The limits are looked at after the key.
/// - [`transition`](Self::transition) is a compare-and-set by [`Execution::apply`]; a step that the state machine
///   forbids is [`StoreError::Invalid`], whoever asks, and changes nothing.
/// - Whatever reaches a terminal status loses its stored request in the same write. The request is sealed at
///   rest where there is a rest.
/// - It is owed its outcome in the audit log from that write on, until [`outcome_recorded`](Self::outcome_recorded).
/// - A listing costs as much as the page, not as the table, and sees every record that was there when it began.
#[async_trait]
pub trait ExecutionStore: Send + Sync + 'static {
    /// Records a new execution.
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError>;

    /// The record of an execution.
    async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError>;

    /// The ids that begin with `prefix`, two at most: none, one, or ambiguous.
    async fn find(&self, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, StoreError>;

    /// Changes a record if its status is one of `from`. [`StoreError::NotFound`] for an unknown id.
    async fn transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Transition, StoreError>;

    /// What starts an execution; `None` once it has ended.
    async fn request(&self, id: ExecutionId) -> Result<Option<StartRequest>, StoreError>;

    /// A page of records, newest first.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;

    /// At most `limit` ended executions whose outcome is not known to be in the audit log.
    async fn outcomes_owed(&self, limit: usize) -> Result<Vec<Execution>, StoreError>;

    /// Notes that an execution's outcome is in the audit log. Of one that is owed none it changes nothing.
    async fn outcome_recorded(&self, id: ExecutionId) -> Result<(), StoreError>;
}
