use std::sync::Arc;

use async_trait::async_trait;

use super::{AuditEvent, AuditLog, Created, ExecutionStore, NewExecution, StoreError};

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

/// Where a run is taken in: what was decided goes into the audit log, then its record into the execution store.
///
/// [`Apart`] does that with any two. Two that share a database can do it in one durable step.
///
/// # Contract
///
/// - The record is never there without the events: they are durable before it, or with it.
/// - The record is made as by [`ExecutionStore::create`], with the same answers. The events are in the log whatever it
///   answers, a conflict included; where the store fails otherwise, they may be.
/// - The events stand in the log in their order.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Records what was decided, and the execution that it is about.
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Created, IntakeError>;
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
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Created, IntakeError> {
        for event in events {
            self.audit.append(event).await.map_err(IntakeError::Audit)?;
        }
        self.executions.create(new).await.map_err(IntakeError::Executions)
    }
}
