use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use runvoy_core::execution::{Execution, Patch, StartRequest};
use runvoy_core::id::{Email, ExecutionId, IdPrefix};
use runvoy_core::limits;
use runvoy_core::port::{
    Created, ExecutionStore, Idempotency, ListQuery, LiveLimits, LiveScope, NewExecution, Page, StoreError,
    Transition,
};
use runvoy_core::state::{Reason, Status, allows};
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params_from_iter};

use super::database::Database;
use super::error::Failure;
use super::execution_row::{self, Columns};
use super::seal::Sealer;
use super::{listing, text};

const KEY: &str = "SELECT execution_id, fingerprint_sha256 FROM idempotency_keys
    WHERE created_by = ?1 AND key = ?2 AND expires_at > ?3";
/// An expired key of the same name gives way.
const REMEMBER: &str = "INSERT INTO idempotency_keys
    (created_by, key, execution_id, fingerprint_sha256, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET execution_id = excluded.execution_id,
        fingerprint_sha256 = excluded.fingerprint_sha256, expires_at = excluded.expires_at";
/// Two for each new one: the table shrinks to what is alive.
const FORGET: &str = "DELETE FROM idempotency_keys WHERE (created_by, key) IN (
    SELECT created_by, key FROM idempotency_keys WHERE expires_at < ?1 ORDER BY expires_at LIMIT 2)";
/// Clocks may disagree: an expired key is looked at for another day.
const LATE: SignedDuration = SignedDuration::from_hours(24);

/// Counts no further than the limit.
const LIVE: &str = "SELECT count(*) FROM (SELECT 1 FROM executions INDEXED BY executions_by_status
    WHERE status IN ('QUEUED', 'STARTING', 'RUNNING', 'TERMINATING') LIMIT ?1)";
const LIVE_OF_USER: &str =
    "SELECT count(*) FROM (SELECT 1 FROM executions INDEXED BY executions_by_user_and_status
    WHERE status IN ('QUEUED', 'STARTING', 'RUNNING', 'TERMINATING') AND created_by = ?2 LIMIT ?1)";

const FIND: &str = "SELECT id FROM executions WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 2";
const REQUEST: &str = "SELECT sealed_request FROM executions WHERE id = ?1";

/// The execution records in the file.
pub(super) struct SqliteExecutionStore {
    database: Arc<Database>,
    sealer: Arc<Sealer>,
}

impl SqliteExecutionStore {
    pub(super) fn new(database: Arc<Database>, sealer: Arc<Sealer>) -> Self {
        Self { database, sealer }
    }
}

/// Seals and writes down as text what is new, so that the one thread that writes need not.
pub(super) fn row(sealer: &Sealer, new: &NewExecution) -> Result<Vec<Value>, Failure> {
    let id = new.record.id;
    let live = !new.record.status.is_terminal();
    let request = live.then(|| sealer.seal_request(id, &new.request)).transpose()?;
    execution_row::values(&new.record, request)
}

fn create(connection: &Connection, new: &NewExecution, row: Vec<Value>) -> Result<Created, Failure> {
    if let Some(answer) = refused(connection, new)? {
        return Ok(answer);
    }
    insert(connection, new, row)?;
    Ok(Created::New)
}

/// Why a new execution is not to be recorded, if it is not.
pub(super) fn refused(connection: &Connection, new: &NewExecution) -> Result<Option<Created>, Failure> {
    let NewExecution { record, idempotency, limits, .. } = new;
    if let Some(key) = idempotency
        && let Some(known) = known(connection, record, key)?
    {
        return Ok(Some(Created::Existing(Box::new(known))));
    }
    if !allows(None, record.status, record.status_reason) {
        let what = format!("an execution does not begin as {}", record.status);
        return Err(StoreError::Invalid { what, source: None }.into());
    }
    let exceeded = exceeded(connection, &record.created_by, *limits)?;
    Ok(exceeded.map(|(scope, limit)| Created::TooMany { scope, limit }))
}

/// Changes nothing where it answers a conflict.
pub(super) fn insert(connection: &Connection, new: &NewExecution, row: Vec<Value>) -> Result<(), Failure> {
    let NewExecution { record, idempotency, .. } = new;
    let inserted = connection.prepare_cached(execution_row::INSERT)?.execute(params_from_iter(row));
    inserted.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => {
            StoreError::conflict(format!("execution {}", record.id)).into()
        }
        _ => Failure::from(error),
    })?;
    if record.status.is_terminal() {
        execution_row::owe_outcome(connection, record.id)?;
    }
    if let Some(key) = idempotency {
        remember(connection, record, key)?;
    }
    Ok(())
}

/// The record that a live key of the same user stands for.
fn known(
    connection: &Connection,
    record: &Execution,
    key: &Idempotency,
) -> Result<Option<Execution>, Failure> {
    let mut statement = connection.prepare_cached(KEY)?;
    let place = (record.created_by.as_str(), &key.key, text::time(record.created_at));
    let found: Option<(String, String)> =
        statement.query_row(place, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((id, fingerprint)) = found else { return Ok(None) };
    let known = execution_row::get(connection, id.parse().map_err(Failure::unreadable)?)?;
    if known.as_ref().is_some_and(|known| known.status_reason == Some(Reason::LockHeld)) {
        return Ok(None);
    }
    if fingerprint != text::hex(&key.fingerprint) {
        return Err(StoreError::conflict("another request with this idempotency key").into());
    }
    Ok(known)
}

fn remember(connection: &Connection, record: &Execution, key: &Idempotency) -> Result<(), Failure> {
    let late = record.created_at.checked_sub(LATE).unwrap_or(Timestamp::MIN);
    connection.prepare_cached(FORGET)?.execute([text::time(late)])?;
    connection.prepare_cached(REMEMBER)?.execute((
        record.created_by.as_str(),
        &key.key,
        record.id.to_string(),
        text::hex(&key.fingerprint),
        text::time(key.expires_at),
    ))?;
    Ok(())
}

fn exceeded(
    connection: &Connection,
    user: &Email,
    limits: LiveLimits,
) -> Result<Option<(LiveScope, u64)>, Failure> {
    let full = |limit: u64, live: i64| u64::try_from(live).unwrap_or(0) >= limit;
    if let Some(limit) = limits.server {
        let live = connection.prepare_cached(LIVE)?.query_row([text::int(limit)], |row| row.get(0))?;
        if full(limit, live) {
            return Ok(Some((LiveScope::Server, limit)));
        }
    }
    if let Some(limit) = limits.user {
        let mut statement = connection.prepare_cached(LIVE_OF_USER)?;
        let live = statement.query_row((text::int(limit), user.as_str()), |row| row.get(0))?;
        if full(limit, live) {
            return Ok(Some((LiveScope::User, limit)));
        }
    }
    Ok(None)
}

fn transition(
    connection: &Connection,
    id: ExecutionId,
    from: &[Status],
    patch: &Patch,
) -> Result<Transition, Failure> {
    let before = execution_row::get(connection, id)?
        .ok_or_else(|| StoreError::not_found(format!("execution {id}")))?;
    if !from.contains(&before.status) {
        return Ok(Transition::Refused(Box::new(before)));
    }
    let mut after = before.clone();
    after
        .apply(patch)
        .map_err(|step| StoreError::Invalid { what: step.to_string(), source: Some(Box::new(step)) })?;
    execution_row::update(connection, &before, &after)?;
    Ok(Transition::Applied(Box::new(after)))
}

fn sealed_request(connection: &Connection, id: ExecutionId) -> Result<Option<Vec<u8>>, Failure> {
    let mut statement = connection.prepare_cached(REQUEST)?;
    let sealed: Option<Option<Vec<u8>>> =
        statement.query_row([id.to_string()], |row| row.get(0)).optional()?;
    Ok(sealed.flatten())
}

fn find(connection: &Connection, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, Failure> {
    let (first, last) = prefix.range();
    let mut statement = connection.prepare_cached(FIND)?;
    let mut rows = statement.query([first.to_string(), last.to_string()])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(Columns(row).parsed(0)?);
    }
    Ok(ids)
}

#[async_trait]
impl ExecutionStore for SqliteExecutionStore {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        let row = row(&self.sealer, &new)?;
        Ok(self.database.write(move |connection| create(connection, &new, row)).await?)
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        Ok(self.database.read(move |connection| execution_row::get(connection, id)).await?)
    }

    async fn find(&self, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, StoreError> {
        let prefix = prefix.clone();
        Ok(self.database.read(move |connection| find(connection, &prefix)).await?)
    }

    async fn transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Transition, StoreError> {
        let (from, patch) = (from.to_vec(), patch.clone());
        Ok(self.database.write(move |connection| transition(connection, id, &from, &patch)).await?)
    }

    async fn request(&self, id: ExecutionId) -> Result<Option<StartRequest>, StoreError> {
        let sealed = self.database.read(move |connection| sealed_request(connection, id)).await?;
        Ok(sealed.map(|sealed| self.sealer.unseal_request(id, &sealed)).transpose()?)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        if !(1..=limits::PAGE).contains(&query.limit) {
            let what = format!("a page has 1 to {} records, not {}", limits::PAGE, query.limit);
            return Err(StoreError::Invalid { what, source: None });
        }
        let query = query.clone();
        Ok(self.database.read(move |connection| listing::list(connection, &query)).await?)
    }

    async fn outcomes_owed(&self, limit: usize) -> Result<Vec<Execution>, StoreError> {
        Ok(self.database.read(move |connection| execution_row::owed_outcomes(connection, limit)).await?)
    }

    async fn outcome_recorded(&self, id: ExecutionId) -> Result<(), StoreError> {
        Ok(self.database.write(move |connection| execution_row::outcome_recorded(connection, id)).await?)
    }
}
