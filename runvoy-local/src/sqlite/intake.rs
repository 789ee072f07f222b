use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::audit;
use runvoy_core::execution::Execution;
use runvoy_core::locks::{LockDocument, grant_if_free};
use runvoy_core::port::{AuditEvent, Created, Intake, IntakeError, NewExecution, StoreError, Taken};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::database::Database;
use super::error::Failure;
use super::execution_store::{insert, refused, row};
use super::lock_manager::InUse;
use super::seal::Sealer;
use super::{audit_log, execution_row, lock_manager};

/// Decisions, records and free locks in one commit: the file has them all.
pub(super) struct SqliteIntake {
    database: Arc<Database>,
    sealer: Arc<Sealer>,
    in_use: InUse,
}

/// What became of a run, and of its lock if that changed. A conflict is an answer too: the events stay.
type Done = Result<(Taken, Option<LockDocument>), Failure>;

impl SqliteIntake {
    pub(super) fn new(database: Arc<Database>, sealer: Arc<Sealer>, in_use: InUse) -> Self {
        Self { database, sealer, in_use }
    }

    async fn write(&self, events: &[AuditEvent], new: NewExecution) -> Result<Taken, Failure> {
        let row = row(&self.sealer, &new)?;
        let bodies =
            events.iter().map(audit::body).collect::<Result<Vec<_>, _>>().map_err(Failure::unreadable)?;
        let lock = new.record.lock.as_ref().map(|lock| lock.name.clone());
        // A long line is not read from the file for one that has to stand in it.
        let maybe_free = lock.as_ref().is_some_and(|name| !self.in_use.has(name));
        let in_use = self.in_use.clone();
        let follow = move |done: &Done| {
            if let (Ok((_, Some(document))), Some(name)) = (done, &lock) {
                in_use.follow(name, document);
            }
        };
        let done = self
            .database
            .write_then(move |connection| take_in(connection, &bodies, (new, row), maybe_free), follow);
        Ok(done.await??.0)
    }
}

fn take_in(
    connection: &Connection,
    events: &[String],
    new: (NewExecution, Vec<Value>),
    maybe_free: bool,
) -> Result<Done, Failure> {
    for event in events {
        audit_log::append(connection, event)?;
    }
    match record(connection, new, maybe_free) {
        // It has changed nothing, and the events stay.
        Err(failure @ Failure::Answer(StoreError::Conflict { .. })) => Ok(Err(failure)),
        Err(failure) => Err(failure),
        Ok(done) => Ok(Ok(done)),
    }
}

fn record(
    connection: &Connection,
    (mut new, mut row): (NewExecution, Vec<Value>),
    maybe_free: bool,
) -> Result<(Taken, Option<LockDocument>), Failure> {
    match refused(connection, &new)? {
        Some(Created::Existing(known)) => return Ok((Taken::Existing(known), None)),
        Some(Created::TooMany { scope, limit }) => return Ok((Taken::TooMany { scope, limit }, None)),
        Some(Created::New) | None => {}
    }
    let mut lock = None;
    if maybe_free && let Some((document, granted)) = granted(connection, &new)? {
        row = execution_row::renewed(row, &granted)?;
        (new.record, lock) = (granted, Some(document));
    }
    insert(connection, &new, row)?;
    if let (Some(document), Some(wanted)) = (&lock, &new.record.lock) {
        lock_manager::put(connection, &wanted.name, document)?;
    }
    Ok((Taken::New(Box::new(new.record)), lock))
}

fn granted(
    connection: &Connection,
    new: &NewExecution,
) -> Result<Option<(LockDocument, Execution)>, Failure> {
    let Some(wanted) = &new.record.lock else { return Ok(None) };
    Ok(grant_if_free(lock_manager::get(connection, &wanted.name)?, &new.record))
}

#[async_trait]
impl Intake for SqliteIntake {
    async fn take_in(&self, events: Vec<AuditEvent>, new: NewExecution) -> Result<Taken, IntakeError> {
        let written = self.write(&events, new).await;
        written.map_err(|failure| IntakeError::Executions(failure.into()))
    }
}
