use std::error::Error;
use std::str::FromStr;

use jiff::Timestamp;
use runvoy_core::execution::{Execution, LogSummary, StopOrder, TaskHandle};
use runvoy_core::id::ExecutionId;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::error::Failure;
use super::text;

/// The columns, in the order of [`read`].
macro_rules! columns {
    () => {
        "id, created_by, owned_by, command, image_id, status, status_reason, status_detail, exit_code, \
         created_at, started_at, completed_at, attempted_at, timeout_seconds, grace_seconds, task, stop_by, \
         stop_at, stop_grace_seconds, created_by_request_id, modified_by_request_id, log_events, log_bytes, \
         log_replacements, log_hash, lock_name, lock_use, image_digest, secrets, \
         code"
    };
}
pub(super) use columns;

const SELECT: &str = concat!("SELECT ", columns!(), " FROM executions WHERE id = ?1");

const OWE: &str = "INSERT OR IGNORE INTO outcomes_owed (execution_id) VALUES (?1)";
const OWE_NO_MORE: &str = "DELETE FROM outcomes_owed WHERE execution_id = ?1";
const OWED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM executions WHERE id IN (SELECT execution_id FROM outcomes_owed LIMIT ?1)"
);

pub(super) const INSERT: &str = concat!(
    "INSERT INTO executions (",
    columns!(),
    ", sealed_request) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
     ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)"
);

/// What a step may change. Two forms, because writing a status costs two indexes, the same one too.
macro_rules! update {
    ($status:literal) => {
        concat!(
            "UPDATE executions SET status_reason = ?2, status_detail = ?3, exit_code = ?4, started_at = ?5, \
             completed_at = ?6, attempted_at = ?7, task = ?8, stop_by = ?9, stop_at = ?10, \
             stop_grace_seconds = ?11, modified_by_request_id = ?12, log_events = ?13, log_bytes = ?14, \
             log_replacements = ?15, log_hash = ?16, lock_use = ?17, image_digest = ?18, secrets = ?19, \
             code = ?20",
            $status,
            " WHERE id = ?1"
        )
    };
}
const UPDATE: &str = update!("");
const UPDATE_STATUS: &str = update!(", status = ?21");
const UPDATE_END: &str = update!(", status = ?21, sealed_request = NULL");

/// The values of a new row.
pub(super) fn values(record: &Execution, sealed: Option<Vec<u8>>) -> Result<Vec<Value>, Failure> {
    with_sealed(record, sealed.into())
}

fn with_sealed(record: &Execution, sealed: Value) -> Result<Vec<Value>, Failure> {
    let owners = serde_json::to_string(&record.owned_by).map_err(Failure::unreadable)?;
    let mut values: Vec<Value> = vec![
        record.id.to_string().into(),
        record.created_by.to_string().into(),
        owners.into(),
        record.command.clone().into(),
        record.image_id.clone().into(),
        record.status.as_str().to_owned().into(),
    ];
    let [reason, detail, exit, started, completed, attempted, task, by, at, grace, modified, last @ ..] =
        changing(record)?;
    values.extend([reason, detail, exit, text::time(record.created_at).into()]);
    values.extend([started, completed, attempted]);
    values.extend([text::int(record.timeout).into(), text::int(record.grace).into()]);
    values.extend([task, by, at, grace, record.created_by_request_id.to_string().into(), modified]);
    let [events, bytes, replacements, hash, lock, digest, secrets, code] = last;
    let lock_name = record.lock.as_ref().map(|lock| lock.name.as_str().to_owned());
    values.extend([events, bytes, replacements, hash, lock_name.into(), lock, digest, secrets, code, sealed]);
    Ok(values)
}

/// The values of a new row whose record has gone on since they were made. What is sealed stays.
pub(super) fn renewed(mut values: Vec<Value>, record: &Execution) -> Result<Vec<Value>, Failure> {
    let sealed = values.pop().unwrap_or(Value::Null);
    with_sealed(record, sealed)
}

/// The values that a step may change, in the order of the update.
fn changing(record: &Execution) -> Result<[Value; 19], Failure> {
    let (stop, log) = (record.stop.as_ref(), record.log.as_ref());
    let number = |value: Option<u64>| value.map(text::int).into();
    let lock = record.lock.as_ref().map(serde_json::to_string).transpose().map_err(Failure::unreadable)?;
    let secrets = Some(&record.secrets).filter(|secrets| !secrets.is_empty());
    let secrets = secrets.map(serde_json::to_string).transpose().map_err(Failure::unreadable)?;
    let code = record.code.as_ref().map(serde_json::to_string).transpose().map_err(Failure::unreadable)?;
    Ok([
        record.status_reason.map(|reason| reason.as_str().to_owned()).into(),
        record.status_detail.clone().into(),
        record.exit_code.into(),
        record.started_at.map(text::time).into(),
        record.completed_at.map(text::time).into(),
        text::time(record.attempted_at).into(),
        record.task.as_ref().map(|task| task.0.clone()).into(),
        stop.map(|stop| stop.by.to_string()).into(),
        stop.map(|stop| text::time(stop.at)).into(),
        number(stop.and_then(|stop| stop.grace)),
        record.modified_by_request_id.to_string().into(),
        number(log.map(|log| log.events)),
        number(log.map(|log| log.bytes)),
        number(log.map(|log| log.replacements)),
        log.map(|log| log.hash.clone()).into(),
        lock.into(),
        record.image_digest.clone().into(),
        secrets.into(),
        code.into(),
    ])
}

/// Writes a changed record. With a terminal status its request goes, in the same write.
pub(super) fn update(connection: &Connection, before: &Execution, after: &Execution) -> Result<(), Failure> {
    let mut values = vec![Value::from(after.id.to_string())];
    values.extend(changing(after)?);
    let sql = if after.status == before.status {
        UPDATE
    } else {
        values.push(after.status.as_str().to_owned().into());
        if after.status.is_terminal() { UPDATE_END } else { UPDATE_STATUS }
    };
    connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?;
    if sql == UPDATE_END { owe_outcome(connection, after.id) } else { Ok(()) }
}

/// Notes that the audit log lacks the outcome of an execution that has just ended.
pub(super) fn owe_outcome(connection: &Connection, id: ExecutionId) -> Result<(), Failure> {
    connection.prepare_cached(OWE)?.execute([id.to_string()])?;
    Ok(())
}

pub(super) fn owed_outcomes(connection: &Connection, limit: usize) -> Result<Vec<Execution>, Failure> {
    let mut statement = connection.prepare_cached(OWED)?;
    let mut rows = statement.query([text::int(limit as u64)])?;
    let mut owed = Vec::new();
    while let Some(row) = rows.next()? {
        owed.push(read(row)?);
    }
    Ok(owed)
}

pub(super) fn outcome_recorded(connection: &Connection, id: ExecutionId) -> Result<(), Failure> {
    connection.prepare_cached(OWE_NO_MORE)?.execute([id.to_string()])?;
    Ok(())
}

pub(super) fn get(connection: &Connection, id: ExecutionId) -> Result<Option<Execution>, Failure> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let record = statement.query_row([id.to_string()], |row| Ok(read(row))).optional()?;
    record.transpose()
}

pub(super) fn read(row: &Row<'_>) -> Result<Execution, Failure> {
    let row = Columns(row);
    Ok(Execution {
        id: row.parsed(0)?,
        created_by: row.parsed(1)?,
        owned_by: serde_json::from_str(row.text(2)?).map_err(Failure::unreadable)?,
        command: row.text(3)?.to_owned(),
        image_id: row.maybe_text(4)?,
        image_digest: row.maybe_text(27)?,
        status: row.parsed(5)?,
        status_reason: row.maybe_parsed(6)?,
        status_detail: row.maybe_text(7)?,
        exit_code: row.0.get(8)?,
        created_at: row.time(9)?,
        started_at: row.maybe_time(10)?,
        completed_at: row.maybe_time(11)?,
        attempted_at: row.time(12)?,
        timeout: row.number(13)?,
        grace: row.number(14)?,
        task: row.maybe_text(15)?.map(TaskHandle),
        stop: match row.maybe_parsed(16)? {
            Some(by) => Some(StopOrder { by, at: row.time(17)?, grace: row.maybe_number(18)? }),
            None => None,
        },
        created_by_request_id: row.parsed(19)?,
        modified_by_request_id: row.parsed(20)?,
        log: match row.maybe_text(24)? {
            Some(hash) => Some(LogSummary {
                events: row.number(21)?,
                bytes: row.number(22)?,
                replacements: row.number(23)?,
                hash,
            }),
            None => None,
        },
        lock: row.maybe(26)?.map(serde_json::from_str).transpose().map_err(Failure::unreadable)?,
        secrets: row
            .maybe(28)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(Failure::unreadable)?
            .unwrap_or_default(),
        code: row.maybe(29)?.map(serde_json::from_str).transpose().map_err(Failure::unreadable)?,
    })
}

/// A row whose columns are read as what they stand for.
pub(super) struct Columns<'a>(pub(super) &'a Row<'a>);

impl<'a> Columns<'a> {
    pub(super) fn text(&self, column: usize) -> Result<&'a str, Failure> {
        self.0.get_ref(column)?.as_str().map_err(Failure::unreadable)
    }

    fn maybe(&self, column: usize) -> Result<Option<&'a str>, Failure> {
        match self.0.get_ref(column)? {
            ValueRef::Null => Ok(None),
            value => value.as_str().map(Some).map_err(Failure::unreadable),
        }
    }

    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<String>, Failure> {
        Ok(self.maybe(column)?.map(str::to_owned))
    }

    pub(super) fn parsed<T>(&self, column: usize) -> Result<T, Failure>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        self.text(column)?.parse().map_err(Failure::unreadable)
    }

    pub(super) fn maybe_parsed<T>(&self, column: usize) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        self.maybe(column)?.map(str::parse).transpose().map_err(Failure::unreadable)
    }

    pub(super) fn time(&self, column: usize) -> Result<Timestamp, Failure> {
        text::parse_time(self.text(column)?)
    }

    pub(super) fn maybe_time(&self, column: usize) -> Result<Option<Timestamp>, Failure> {
        self.maybe(column)?.map(text::parse_time).transpose()
    }

    pub(super) fn number(&self, column: usize) -> Result<u64, Failure> {
        u64::try_from(self.0.get::<_, i64>(column)?).map_err(Failure::unreadable)
    }

    pub(super) fn maybe_number(&self, column: usize) -> Result<Option<u64>, Failure> {
        let number: Option<i64> = self.0.get(column)?;
        number.map(u64::try_from).transpose().map_err(Failure::unreadable)
    }
}
