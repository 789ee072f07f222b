use std::sync::Arc;

use async_trait::async_trait;

use super::{AuditEvent, AuditLog, Created, ExecutionStore, LiveScope, NewExecution, StoreError};
use crate::execution::Execution;

/// Which store kept a run from being taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The audit log; nothing is recorded of the execution.
    #[error("the audit log: {0}")]
    Audit(#[source] StoreError),
    /// The execution store, by an error of [`ExecutionStore::create`].
    #[error("the execution store: {0}")]
    Executions(#[source] StoreError),
}

/// What became of a run that was to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is recorded, and so it stands there: as it was given, or STARTING with the lock that it wanted.
    New(Box<Execution>),
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

/// Where a run is taken in: what was decided goes into the audit log, then its record into the execution store; then it
/// asks for its lock.
///
/// [`Apart`] does the first two with any stores, and leaves the lock to whoever asks. Stores that share a database can do
/// all of it in one durable step.
///
/// # Contract
///
/// - The record is never there without the events: they are durable before it, or with it.
/// - The record is made as by [`ExecutionStore::create`], with the same answers. The events are in the log whatever it
///   answers, a conflict included; where the store fails otherwise, they may be.
/// - The events stand in the log in their order.
/// - A lock that is free may be granted in the same step, as by [`grant_if_free`](crate::locks::grant_if_free): then grant
///   and record are both there, or neither. A lock that is not free stays as it is, and so does one whose execution is not
///   recorded; the execution is QUEUED then.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Records what was decided, and the execution that it is about.
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Taken, IntakeError>;
}

/// Two stores that know nothing of each other, one after the other.
pub struct Apart {
    /// Where the events go.
    pub audit: Arc<dyn AuditLog>,
    /// Where the record goes.
    pub executions: Arc<dyn ExecutionStore>,
}

#[async_trait]
impl Intake for Apart {
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Taken, IntakeError> {
        let record = Box::new(new.record.clone());
        for event in events {
            self.audit.append(event).await.map_err(IntakeError::Audit)?;
        }
        let created = self.executions.create(new).await.map_err(IntakeError::Executions)?;
        Ok(match created {
            Created::New => Taken::New(record),
            Created::Existing(known) => Taken::Existing(known),
            Created::TooMany { scope, limit } => Taken::TooMany { scope, limit },
        })
    }
}
