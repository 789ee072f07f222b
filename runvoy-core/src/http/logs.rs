use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header;

use super::ApiError;
use super::base::Base;
use super::executions::ExecutionPath;
use super::query::Params;
use crate::api::{EndData, ErrorBody, LogPageAnswer, LogsAnswer};
use crate::execution::Execution;
use crate::id::IdPrefix;
use crate::limits;
use crate::log::{Cursor, LogEvent};
use crate::port::{Action, BoxError, LogItem};
use crate::state::Status;
use crate::{Caller, LogQuery, LogRead, LogStart, Runvoy};

/// Both answers of one route: which it is depends on what was asked with.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum AnyLogs {
    Page(LogPageAnswer),
    Whole(LogsAnswer),
}

/// The log of an execution.
///
/// With `after`, `limit`, `tail` or `wait`: a page, in every state. With none of them: everything once it has ended, and
/// `null` before.
#[utoipa::path(
    get, path = "/executions/{id}/logs", security(("api_key" = [])),
    params(
        ("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has"),
        ("after" = Option<String>, Query, description = "a cursor: only what follows it"),
        ("tail" = Option<u64>, Query, description = "begin so many events before the end"),
        ("limit" = Option<u64>, Query, description = "events, 1 to 1000, 1000 unless given"),
        ("wait" = Option<u64>, Query, description = "seconds to wait for the first event, at most 20"),
    ),
    responses(
        (status = 200, body = AnyLogs, description = "a page; without parameters a LogsAnswer"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_logs(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    base: Base,
    path: ExecutionPath,
    params: Params,
) -> Result<Response, ApiError> {
    let (id, query) = path.with(&runvoy, &caller, Action::ReadLogs, query(&params)).await?;
    let Some(query) = query else { return whole_log(runvoy, &caller, &base, &id).await };
    let read = runvoy.logs(&caller, &id, query).await?;
    let answer = LogPageAnswer {
        events: read.items.iter().flat_map(|item| events(&read.execution, item)).collect(),
        next: read.next,
        complete: read.end == Some(true),
        end: read.end.map(|complete| end_data(&read.execution, complete)),
    };
    Ok(Json(AnyLogs::Page(answer)).into_response())
}

/// The page that is asked for; none where nothing is said about pages.
fn query(params: &Params) -> Result<Option<LogQuery>, ApiError> {
    if !["after", "tail", "limit", "wait"].iter().any(|name| params.get(name).is_some()) {
        return Ok(None);
    }
    let limit = params.number("limit")?.unwrap_or(limits::PAGE as u64);
    if !(1..=limits::PAGE as u64).contains(&limit) {
        return Err(ApiError::invalid_query(format!("limit: 1 to {}, this is {limit}", limits::PAGE)));
    }
    Ok(Some(LogQuery {
        start: start(params, None)?,
        limit: usize::try_from(limit).unwrap_or(limits::PAGE),
        wait: params.wait()?.unwrap_or(Duration::ZERO),
    }))
}

/// Where a reader asks to begin. `resume` is the cursor of an earlier connection.
pub(super) fn start(params: &Params, resume: Option<&str>) -> Result<LogStart, ApiError> {
    match (resume.or_else(|| params.get("after")), params.number("tail")?) {
        (Some(cursor), _) => {
            let cursor =
                Cursor::parse(cursor).map_err(|error| ApiError::invalid(format!("after: {error}")))?;
            Ok(LogStart::After(cursor))
        }
        (None, Some(events)) => Ok(LogStart::Tail(events)),
        (None, None) => Ok(LogStart::Beginning),
    }
}

/// The events of an item; what is missing has none.
pub(super) fn events<'a>(record: &Execution, item: &'a LogItem) -> impl Iterator<Item = LogEvent> + use<'a> {
    let id = record.id;
    let block = match item {
        LogItem::Block(block) => Some(block),
        LogItem::Gap { .. } => None,
    };
    block.into_iter().flat_map(move |block| block.lines().map(move |line| LogEvent::new(id, block, &line)))
}

pub(super) fn end_data(record: &Execution, complete: bool) -> EndData {
    EndData {
        status: record.status,
        status_reason: record.status_reason,
        status_detail: record.status_detail.clone(),
        exit_code: record.exit_code,
        complete,
    }
}

/// The answer that existing clients know: everything at once, so it is streamed.
async fn whole_log(
    runvoy: Runvoy,
    caller: &Caller,
    base: &Base,
    id: &IdPrefix,
) -> Result<Response, ApiError> {
    let query = LogQuery { start: LogStart::Beginning, limit: limits::PAGE, wait: Duration::ZERO };
    let first = runvoy.logs(caller, id, query).await?;
    let record = first.execution.clone();
    if !record.status.is_terminal() && record.status != Status::Terminating {
        let websocket_url = Some(base.websocket_url(&runvoy, caller, record.id));
        let answer =
            LogsAnswer { execution_id: record.id, events: None, status: record.status, websocket_url };
        return Ok(Json(AnyLogs::Whole(answer)).into_response());
    }
    let id = IdPrefix::from(record.id);
    let caller = caller.clone();
    let pages = stream::try_unfold((Some(first), Whole::default()), move |(read, mut whole)| {
        let (runvoy, caller, id) = (runvoy.clone(), caller.clone(), id.clone());
        async move {
            let Some(read) = read.filter(|read| !read.items.is_empty()) else { return Ok(None) };
            let text = whole.append(&read)?;
            let start = LogStart::After(read.next);
            let query = LogQuery { start, limit: limits::PAGE, wait: Duration::ZERO };
            let next = runvoy.logs(&caller, &id, query).await?;
            Ok::<_, BoxError>(Some((Bytes::from(text), (Some(next), whole))))
        }
    });
    let head = format!(r#"{{"execution_id":"{}","events":["#, record.id);
    let foot = format!(r#"],"status":"{}"}}"#, record.status);
    let fixed = |text: String| stream::once(async move { Ok(Bytes::from(text)) });
    let body = fixed(head).chain(pages.into_stream()).chain(fixed(foot));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// How far a whole log was told.
#[derive(Default)]
struct Whole {
    any: bool,
    /// The latest time so far: existing clients sort by it, and a clock may have been set back.
    at: i64,
}

impl Whole {
    /// The next events, with commas between them and those before. What is missing is one of them.
    fn append(&mut self, read: &LogRead) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = Vec::new();
        for item in &read.items {
            let gap = match item {
                LogItem::Block(_) => None,
                LogItem::Gap { from, to, .. } => {
                    Some(LogEvent::of_gap(read.execution.id, (*from, *to), self.at))
                }
            };
            for mut event in events(&read.execution, item).chain(gap) {
                if self.any {
                    text.push(b',');
                }
                self.any = true;
                self.at = self.at.max(event.timestamp);
                event.timestamp = self.at;
                serde_json::to_writer(&mut text, &event)?;
            }
        }
        Ok(text)
    }
}
