use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::port::{AuditEvent, AuditKind, AuditLog, AuditRecord, StoreError};
use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::database::Database;
use super::error::Failure;
use super::execution_row::Columns;
use super::text;

const INSERT: &str = "INSERT INTO audit_events
    (at, request_id, user, address, kind, action, resource, policy, detail)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const SELECT: &str = "SELECT at, request_id, user, address, kind, action, resource, policy, detail, seq
    FROM audit_events WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// The audit log in the file. Nothing is ever deleted, so the next row is the next number.
pub(super) struct SqliteAuditLog(Arc<Database>);

impl SqliteAuditLog {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self(database)
    }
}

fn values(event: AuditEvent) -> [Value; 9] {
    [
        text::time(event.at).into(),
        event.request_id.to_string().into(),
        event.user.to_string().into(),
        event.address.map(|address| address.to_string()).into(),
        event.kind.as_str().to_owned().into(),
        event.action.into(),
        event.resource.into(),
        event.policy.into(),
        event.detail.into(),
    ]
}

fn read(row: &Row<'_>) -> Result<AuditRecord, Failure> {
    let row = Columns(row);
    let kind = match row.text(4)? {
        "allowed" => AuditKind::Allowed,
        "denied" => AuditKind::Denied,
        "outcome" => AuditKind::Outcome,
        other => return Err(Failure::unreadable(format!("unknown kind of audit event `{other}`"))),
    };
    let event = AuditEvent {
        at: row.time(0)?,
        request_id: row.parsed(1)?,
        user: row.parsed(2)?,
        address: row.maybe_parsed(3)?,
        kind,
        action: row.text(5)?.to_owned(),
        resource: row.text(6)?.to_owned(),
        policy: row.maybe_text(7)?,
        detail: row.maybe_text(8)?,
    };
    Ok(AuditRecord { seq: row.number(9)?, event })
}

#[async_trait]
impl AuditLog for SqliteAuditLog {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let values = values(event);
        let append = move |connection: &rusqlite::Connection| {
            let seq = connection.prepare_cached(INSERT)?.insert(params_from_iter(values))?;
            u64::try_from(seq).map_err(Failure::unreadable)
        };
        Ok(self.0.write(append).await?)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let bounds = (text::int(after), text::int(limit as u64));
        let records = self.0.read(move |connection| {
            let mut statement = connection.prepare_cached(SELECT)?;
            let mut rows = statement.query(bounds)?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(read(row)?);
            }
            Ok(records)
        });
        Ok(records.await?)
    }
}
