//! Looks through the log for what fits a filter, without making a record of each row.
//!
//! Only time has an index: it is appended to at its end and costs next to nothing. One over random request ids would
//! write a page more for every event, for a question that is seldom asked.

use runvoy_core::audit::AuditFilter;
use runvoy_core::port::AuditPage;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::audit_log;
use super::error::Failure;
use super::schema::second;
use super::text;

/// Rows looked at in one go: some ten milliseconds of a reading thread.
const ROWS: u64 = 20_000;
const SELECT: &str = "SELECT seq, event, sha256 FROM audit_events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
/// The next row that says a time not before one, or none that could be read. The signs keep SQLite from going by number.
pub(super) const NEXT_SINCE: &str =
    concat!("SELECT min(+seq) FROM audit_events WHERE +seq > ?1 AND ", second!(), " >= ?2");
pub(super) const NEXT_WITHOUT: &str =
    concat!("SELECT min(+seq) FROM audit_events WHERE +seq > ?1 AND ", second!(), " IS NULL");

/// What [`AuditLog::find`](runvoy_core::port::AuditLog::find) answers.
pub(super) fn find(
    connection: &Connection,
    filter: &AuditFilter,
    after: u64,
    limit: usize,
) -> Result<AuditPage, Failure> {
    let mut page = AuditPage::default();
    page.records.extend(audit_log::forged(connection, after)?.filter(|_| limit > 0));
    let Some(from) = begin(connection, filter, after)? else { return Ok(page) };
    let mut statement = connection.prepare_cached(SELECT)?;
    let mut rows = statement.query((text::int(from), text::int(ROWS)))?;
    let mut seen = 0;
    while page.records.len() < limit {
        let Some(row) = rows.next()? else { break };
        seen += 1;
        if fits(filter, row)? {
            page.records.push(audit_log::record(row)?);
        }
        page.next = Some(audit_log::seq(row, 0)?);
    }
    if seen < ROWS && page.records.len() < limit {
        page.next = None;
    }
    Ok(page)
}

/// The number after which to look; `None` where nothing more can fit.
fn begin(connection: &Connection, filter: &AuditFilter, after: u64) -> Result<Option<u64>, Failure> {
    let Some(since) = filter.since else { return Ok(Some(after)) };
    let by_time = AuditFilter { since: Some(since), ..AuditFilter::default() };
    let mut statement = connection.prepare_cached(SELECT)?;
    let next = statement.query_row((text::int(after), 1), |row| Ok(fits(&by_time, row))).optional()?;
    match next.transpose()? {
        None => Ok(None),
        Some(true) => Ok(Some(after)),
        Some(false) => skip(connection, since, after),
    }
}

fn skip(connection: &Connection, since: jiff::Timestamp, after: u64) -> Result<Option<u64>, Failure> {
    let (after, second) = (text::int(after), text::second(since));
    let first = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
    let fitting = connection.prepare_cached(NEXT_SINCE)?.query_row((after, second), first)?;
    let damaged = connection.prepare_cached(NEXT_WITHOUT)?.query_row([after], first)?;
    let next = fitting.into_iter().chain(damaged).min();
    Ok(next.and_then(|seq| u64::try_from(seq - 1).ok()))
}

fn fits(filter: &AuditFilter, row: &Row<'_>) -> Result<bool, Failure> {
    let event = row.get_ref(1)?.as_bytes().ok().and_then(|bytes| str::from_utf8(bytes).ok());
    Ok(event.is_none_or(|event| filter.fits(event)))
}
