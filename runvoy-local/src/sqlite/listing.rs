use std::cmp::Reverse;
use std::collections::BTreeSet;

use runvoy_core::execution::Execution;
use runvoy_core::port::{ListPosition, ListQuery, Page};
use runvoy_core::state::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::error::Failure;
use super::execution_row::{self, columns};
use super::text;

/// One range of one index, newest first. The index is named: were it not usable, that is an error and no scan.
macro_rules! range {
    ($index:literal, $filter:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM executions INDEXED BY ",
            $index,
            " WHERE ",
            $filter,
            "(created_at, id) < (?1, ?2) AND created_at >= ?3 ORDER BY created_at DESC, id DESC LIMIT ?4"
        )
    };
}

const ALL: &str = range!("executions_by_time", "");
const OF_STATUS: &str = range!("executions_by_status", "status = ?5 AND ");
const OF_USER_AND_STATUS: &str =
    range!("executions_by_user_and_status", "created_by = ?5 AND status = ?6 AND ");

/// A user's are told apart within a lock's: no index has both.
const OF_LOCK_AND_STATUS: &str =
    range!("executions_by_lock", "lock_name = ?5 AND status = ?6 AND (?7 IS NULL OR created_by = ?7) AND ");

/// A page of records, from one snapshot.
pub(super) fn list(connection: &Connection, query: &ListQuery) -> Result<Page, Failure> {
    let statuses: Option<BTreeSet<Status>> = match &query.statuses {
        Some(some) => Some(some.iter().copied().collect()),
        // The indexes of a user's records and of a lock's have them by status.
        None if query.user.is_some() || query.lock.is_some() => Some(Status::ALL.into()),
        None => None,
    };
    let mut executions = match statuses {
        None => range(connection, query, None)?,
        Some(statuses) => {
            // Between two ranges a record could change its status and be missed, or be seen twice.
            let snapshot = connection.unchecked_transaction()?;
            let mut executions = Vec::new();
            for status in statuses {
                executions.extend(range(&snapshot, query, Some(status))?);
            }
            executions.sort_by_key(|record| Reverse((record.created_at, record.id)));
            executions
        }
    };
    let more = executions.len() > query.limit;
    executions.truncate(query.limit);
    let last = executions.last().filter(|_| more);
    let next = last.map(|last| ListPosition { created_at: last.created_at, id: last.id });
    Ok(Page { executions, next })
}

/// One record more than the page: it shows whether there is another page.
fn range(
    connection: &Connection,
    query: &ListQuery,
    status: Option<Status>,
) -> Result<Vec<Execution>, Failure> {
    let until = query.until.map(|until| (text::time_rounded_up(until), String::new()));
    let after = query.after.map(|place| (text::time(place.created_at), place.id.to_string()));
    // "~" sorts after every time.
    let before =
        [until, after].into_iter().flatten().min().unwrap_or_else(|| ("~".to_owned(), String::new()));
    let since = query.since.map(text::time_rounded_up).unwrap_or_default();
    let limit = text::int(query.limit as u64 + 1);
    let mut values: Vec<Value> = vec![before.0.into(), before.1.into(), since.into(), limit.into()];
    let user = query.user.as_ref().map(|user| Value::from(user.to_string()));
    let lock = query.lock.as_ref().map(|lock| Value::from(lock.to_string()));
    let status = status.map(|status| Value::from(status.as_str().to_owned()));
    let sql = match (lock, user, status) {
        (_, _, None) => ALL,
        (None, None, Some(status)) => {
            values.push(status);
            OF_STATUS
        }
        (None, Some(user), Some(status)) => {
            values.extend([user, status]);
            OF_USER_AND_STATUS
        }
        (Some(lock), user, Some(status)) => {
            values.extend([lock, status, user.unwrap_or(Value::Null)]);
            OF_LOCK_AND_STATUS
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut executions = Vec::new();
    while let Some(row) = rows.next()? {
        executions.push(execution_row::read(row)?);
    }
    Ok(executions)
}
