//! The events of a file from before there was a chain, put into it in their order.

use runvoy_core::audit;
use runvoy_core::port::{AuditEvent, AuditKind};
use rusqlite::{Connection, Row};

use super::audit_log;
use super::error::Failure;
use super::execution_row::Columns;

const IS_THERE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'audit_events_unchained'";
const SELECT: &str = "SELECT at, request_id, user, address, kind, action, resource, policy, detail
    FROM audit_events_unchained ORDER BY seq";

/// Chains what the migration set aside, within its transaction; nothing else if nothing was.
pub(super) fn chain_older_events(connection: &Connection) -> Result<(), Failure> {
    if connection.query_row(IS_THERE, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    let mut statement = connection.prepare(SELECT)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let body = audit::body(&event(row)?).map_err(Failure::unreadable)?;
        audit_log::append(connection, &body)?;
    }
    drop(rows);
    drop(statement);
    Ok(connection.execute_batch("DROP TABLE audit_events_unchained")?)
}

fn event(row: &Row<'_>) -> Result<AuditEvent, Failure> {
    let row = Columns(row);
    let kind = match row.text(4)? {
        "allowed" => AuditKind::Allowed,
        "denied" => AuditKind::Denied,
        "outcome" => AuditKind::Outcome,
        other => return Err(Failure::unreadable(format!("unknown kind of audit event `{other}`"))),
    };
    Ok(AuditEvent {
        at: row.time(0)?,
        request_id: row.parsed(1)?,
        user: row.parsed(2)?,
        address: row.maybe_parsed(3)?,
        kind,
        action: row.text(5)?.to_owned(),
        resource: row.text(6)?.to_owned(),
        policy: row.maybe_text(7)?,
        detail: row.maybe_text(8)?,
    })
}
