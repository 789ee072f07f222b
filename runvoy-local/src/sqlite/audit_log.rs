use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::audit::{self, AuditRecord, Checkpoint, Head};
use runvoy_core::port::{AuditEvent, AuditLog, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::database::Database;
use super::error::Failure;
use super::text;

const INSERT: &str = "INSERT INTO audit_events (seq, event, sha256) VALUES (?1, ?2, ?3)";
const SELECT: &str = "SELECT seq, event, sha256 FROM audit_events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
const HEAD: &str = "SELECT seq, sha256 FROM audit_events ORDER BY seq DESC LIMIT 1";
const ADD_CHECKPOINT: &str = "INSERT INTO audit_checkpoints (seq, sha256, at, mac) VALUES (?1, ?2, ?3, ?4)";
const CHECKPOINTS: &str = "SELECT seq, sha256, at, mac FROM audit_checkpoints ORDER BY id";

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

fn head(connection: &Connection) -> Result<Head, Failure> {
    let mut statement = connection.prepare_cached(HEAD)?;
    let head = statement.query_row([], |row| Ok(Head { seq: seq(row, 0)?, hash: lossy(row, 1)? }));
    Ok(head.optional()?.unwrap_or_default())
}

/// A column's text. Bytes that are none show as U+FFFD, whose hash is another: a check finds them.
fn lossy(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let bytes = row.get_ref(column)?.as_bytes_or_null()?.unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Numbers below 0 are nobody's; none of ours is 0.
fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord { seq: seq(row, 0)?, text: lossy(row, 1)?, hash: lossy(row, 2)? })
}

fn checkpoint(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    let at = text::parse_time(&lossy(row, 2)?).unwrap_or(Timestamp::UNIX_EPOCH);
    let head = Head { seq: seq(row, 0)?, hash: lossy(row, 1)? };
    Ok(Checkpoint { at, head, mac: Some(lossy(row, 3)?) })
}

#[async_trait]
impl AuditLog for SqliteAuditLog {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let body = audit::body(&event).map_err(StoreError::unavailable)?;
        Ok(self.0.write(move |connection| append(connection, &body)).await?)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        // A row that somebody numbered below 1 must show, too.
        let after = if after == 0 { i64::MIN } else { text::int(after) };
        let bounds = (after, text::int(limit as u64));
        let records = self.0.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT)?;
            let records = statement.query_map(bounds, record)?.collect::<Result<_, _>>()?;
            Ok(records)
        });
        Ok(records.await?)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.0.read(head).await?)
    }

    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let Checkpoint { at, head, mac } = checkpoint.clone();
        let values = (text::int(head.seq), head.hash, text::time(at), mac.unwrap_or_default());
        let add =
            move |connection: &Connection| Ok(connection.prepare_cached(ADD_CHECKPOINT)?.execute(values)?);
        self.0.write(add).await?;
        Ok(())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let checkpoints = self.0.read(|connection| {
            let mut statement = connection.prepare_cached(CHECKPOINTS)?;
            let checkpoints = statement.query_map([], checkpoint)?.collect::<Result<_, _>>()?;
            Ok(checkpoints)
        });
        Ok(checkpoints.await?)
    }
}
