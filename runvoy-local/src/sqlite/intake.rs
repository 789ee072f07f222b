use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::audit;
use runvoy_core::port::{AuditEvent, Created, Intake, IntakeError, NewExecution, StoreError};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::audit_log;
use super::database::Database;
use super::error::Failure;
use super::execution_store::{create, row};
use super::seal::Sealer;

/// Decisions and records in one commit: the file has both.
pub(super) struct SqliteIntake {
    database: Arc<Database>,
    sealer: Arc<Sealer>,
}

impl SqliteIntake {
    pub(super) fn new(database: Arc<Database>, sealer: Arc<Sealer>) -> Self {
        Self { database, sealer }
    }

    async fn write(&self, events: &[AuditEvent], new: NewExecution) -> Result<Created, Failure> {
        let row = row(&self.sealer, &new)?;
        let bodies =
            events.iter().map(audit::body).collect::<Result<Vec<_>, _>>().map_err(Failure::unreadable)?;
        self.database.write(move |connection| take_in(connection, &bodies, &new, row)).await?
    }
}

fn take_in(
    connection: &Connection,
    events: &[String],
    new: &NewExecution,
    row: Vec<Value>,
) -> Result<Result<Created, Failure>, Failure> {
    for event in events {
        audit_log::append(connection, event)?;
    }
    match create(connection, new, row) {
        // It has changed nothing, and the events stay.
        Err(failure @ Failure::Answer(StoreError::Conflict { .. })) => Ok(Err(failure)),
        Err(failure) => Err(failure),
        Ok(created) => Ok(Ok(created)),
    }
}

#[async_trait]
impl Intake for SqliteIntake {
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Created, IntakeError> {
        let written = self.write(&events, new).await;
        written.map_err(|failure| IntakeError::Executions(failure.into()))
    }
}
