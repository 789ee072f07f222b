use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::audit::{self, AuditFilter, AuditRecord, Checkpoint, Head};
use runvoy_core::port::{AuditEvent, AuditLog, AuditPage, StoreError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::audit_find;
use super::database::Database;
use super::error::Failure;
use super::text;

const INSERT: &str = "INSERT INTO audit_events (seq, event, sha256) VALUES (?1, ?2, ?3)";
const SELECT: &str = "SELECT seq, event, sha256 FROM audit_events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
/// Somebody's, whose numbers begin at 1 in no other way. One is as bad as many.
const FORGED: &str = "SELECT seq, event, sha256 FROM audit_events WHERE seq < 1 ORDER BY seq LIMIT 1";
const HEAD: &str = "SELECT seq, sha256 FROM audit_events ORDER BY seq DESC LIMIT 1";
const ADD_CHECKPOINT: &str = "INSERT INTO audit_checkpoints (seq, sha256, at, mac) VALUES (?1, ?2, ?3, ?4)";
const CHECKPOINTS: &str = "SELECT seq, sha256, at, mac FROM audit_checkpoints ORDER BY id";
const LAST_CHECKPOINT: &str = "SELECT seq, sha256, at, mac FROM audit_checkpoints ORDER BY id DESC LIMIT 1";

/// The audit log in the file. One thread writes, so the next row is the next number.
pub(super) struct SqliteAuditLog(Arc<Database>);

impl SqliteAuditLog {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self(database)
    }
}

/// Appends within whatever transaction the connection is in.
pub(super) fn append(connection: &Connection, body: &str) -> Result<u64, Failure> {
    let record = AuditRecord::after(&head(connection)?, body);
    let values = (text::int(record.seq), record.text, record.hash);
    connection.prepare_cached(INSERT)?.execute(values)?;
    Ok(record.seq)
}

pub(super) fn head(connection: &Connection) -> Result<Head, Failure> {
    let mut statement = connection.prepare_cached(HEAD)?;
    let head = statement.query_row([], |row| Ok(Head { seq: seq(row, 0)?, hash: lossy(row, 1)? }));
    Ok(head.optional()?.unwrap_or_default())
}

/// A column's text. What is no text shows as what no record says, so that a check finds it.
fn lossy(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // A record may say U+FFFD itself, but never ends with it.
            Err(_) => format!("{}\u{FFFD}", String::from_utf8_lossy(bytes)),
        },
    })
}

/// Numbers below 0 are nobody's, nor is what is no number; none of ours is 0.
pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get_ref(column)?.as_i64().ok().and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0))
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord { seq: seq(row, 0)?, text: lossy(row, 1)?, hash: lossy(row, 2)? })
}

/// A row that somebody numbered below 1 shows as the first one, with the number 0.
pub(super) fn forged(connection: &Connection, after: u64) -> Result<Option<AuditRecord>, Failure> {
    if after > 0 {
        return Ok(None);
    }
    Ok(connection.prepare_cached(FORGED)?.query_row([], record).optional()?)
}

/// Adds a checkpoint within whatever transaction the connection is in.
pub(super) fn add_checkpoint(connection: &Connection, checkpoint: Checkpoint) -> Result<(), Failure> {
    let Checkpoint { at, head, mac } = checkpoint;
    let values = (text::int(head.seq), head.hash, text::time(at), mac.unwrap_or_default());
    connection.prepare_cached(ADD_CHECKPOINT)?.execute(values)?;
    Ok(())
}

/// Records after a number, in order, as they are stored.
pub(super) fn read(connection: &Connection, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Failure> {
    let mut records: Vec<_> = forged(connection, after)?.into_iter().take(limit).collect();
    let bounds = (text::int(after), text::int((limit - records.len()) as u64));
    let mut statement = connection.prepare_cached(SELECT)?;
    for record in statement.query_map(bounds, record)? {
        records.push(record?);
    }
    Ok(records)
}

fn checkpoint(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    let at = text::parse_time(&lossy(row, 2)?).unwrap_or(Timestamp::UNIX_EPOCH);
    let head = Head { seq: seq(row, 0)?, hash: lossy(row, 1)? };
    Ok(Checkpoint { at, head, mac: Some(lossy(row, 3)?) })
}

/// Every checkpoint, the oldest first.
pub(super) fn checkpoints(connection: &Connection) -> Result<Vec<Checkpoint>, Failure> {
    let mut statement = connection.prepare_cached(CHECKPOINTS)?;
    let checkpoints = statement.query_map([], checkpoint)?.collect::<Result<_, _>>()?;
    Ok(checkpoints)
}

#[async_trait]
impl AuditLog for SqliteAuditLog {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let body = audit::body(&event).map_err(StoreError::unavailable)?;
        Ok(self.0.write(move |connection| append(connection, &body)).await?)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        Ok(self.0.read(move |connection| read(connection, after, limit)).await?)
    }

    async fn find(&self, filter: &AuditFilter, after: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let filter = filter.clone();
        Ok(self.0.read(move |connection| audit_find::find(connection, &filter, after, limit)).await?)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.0.read(head).await?)
    }

    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let checkpoint = checkpoint.clone();
        Ok(self.0.write(move |connection| add_checkpoint(connection, checkpoint)).await?)
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        Ok(self.0.read(checkpoints).await?)
    }

    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let last = self.0.read(|connection| {
            Ok(connection.prepare_cached(LAST_CHECKPOINT)?.query_row([], checkpoint).optional()?)
        });
        Ok(last.await?)
    }
}
