use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{StatusCode, header};

use super::ApiError;
use super::json::RawBody;
use super::query::Params;
use crate::api::{ErrorBody, ExecutionRecord, ExecutionSummary, KillAnswer, KillRequest, StatusAnswer};
use crate::id::IdPrefix;
use crate::limits;
use crate::port::{Action, ListPosition, Page};
use crate::{Caller, ExecutionFilter, KillOutcome, Runvoy};

/// The execution that a path names by its id or a prefix of it, not yet parsed: the caller's rights are looked at first.
pub(super) struct ExecutionPath(String);

impl ExecutionPath {
    /// The id, and what else the request says. Who may not do this to the execution is told that, and not what is wrong
    /// with either.
    pub(super) async fn with<T>(
        self,
        runvoy: &Runvoy,
        caller: &Caller,
        action: Action,
        rest: Result<T, ApiError>,
    ) -> Result<(IdPrefix, T), ApiError> {
        match (self.0.parse(), rest) {
            (Ok(id), Ok(rest)) => Ok((id, rest)),
            (id, rest) => {
                runvoy.check_execution(caller, action, id.ok().as_ref()).await?;
                // What no id can begin with is not there, whatever it is.
                let shown: String = self.0.chars().take(40).collect();
                Err(rest.err().unwrap_or_else(|| crate::Error::no_execution(shown).into()))
            }
        }
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for ExecutionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        // What is no text is no id of ours.
        Ok(Self(Path::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// Lists executions, newest first.
#[utoipa::path(
    get, path = "/executions", security(("api_key" = [])),
    params(
        ("limit" = Option<u64>, Query, description = "10 unless given; 0 for all, streamed; else at most 1000"),
        ("status" = Option<String>, Query, description = "comma list; unknown ones match nothing"),
        ("user" = Option<String>, Query, description = "created by"),
        ("lock" = Option<String>, Query, description = "that want, hold or held this lock"),
        ("since" = Option<String>, Query, description = "created at or after"),
        ("until" = Option<String>, Query, description = "created before"),
        ("after" = Option<String>, Query, description = "only what follows this execution in the list"),
    ),
    responses(
        (status = 200, body = Vec<ExecutionSummary>),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_executions(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.number("limit")?.unwrap_or(limits::DEFAULT_PAGE as u64);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit > limits::PAGE {
        let details = format!("limit: 0 for all, or 1 to {}, this is {limit}", limits::PAGE);
        return Err(ApiError::invalid_query(details));
    }
    let filter = ExecutionFilter {
        statuses: params.get("status").map(statuses),
        user: params.parsed("user")?,
        lock: params.parsed("lock")?,
        since: params.time("since")?,
        until: params.time("until")?,
    };
    let after = match params.parsed::<IdPrefix>("after")? {
        None => None,
        Some(id) => {
            let record = runvoy.resolve(&id).await?;
            Some(ListPosition { created_at: record.created_at, id: record.id })
        }
    };
    let first = runvoy.list(&caller, &filter, after, if limit == 0 { limits::PAGE } else { limit }).await?;
    if limit > 0 || first.next.is_none() {
        let provider = &runvoy.config().provider;
        let list: Vec<_> =
            first.executions.iter().map(|record| ExecutionSummary::new(record, provider)).collect();
        return Ok(Json(list).into_response());
    }
    Ok(stream_all(runvoy, caller, filter, first))
}

/// Statuses of a comma list; what is none matches nothing.
fn statuses(list: &str) -> Vec<crate::state::Status> {
    list.split(',').filter_map(|name| name.trim().parse().ok()).collect()
}

/// Every page as one array, so that a list of any length needs the memory of a page.
fn stream_all(runvoy: Runvoy, caller: Caller, filter: ExecutionFilter, first: Page) -> Response {
    let provider = runvoy.config().provider.clone();
    let pages = stream::try_unfold((Some(first), false), move |(page, mut any)| {
        let (runvoy, caller, filter, provider) =
            (runvoy.clone(), caller.clone(), filter.clone(), provider.clone());
        async move {
            let Some(page) = page else { return Ok(None) };
            let mut text = Vec::new();
            for record in &page.executions {
                let separator: &[u8] = if any { b"," } else { b"" };
                text.extend_from_slice(separator);
                any = true;
                serde_json::to_writer(&mut text, &ExecutionSummary::new(record, &provider))?;
            }
            let next = match page.next {
                None => None,
                Some(after) => Some(runvoy.list(&caller, &filter, Some(after), limits::PAGE).await?),
            };
            Ok::<_, crate::port::BoxError>(Some((Bytes::from(text), (next, any))))
        }
    });
    let whole = |text: &'static [u8]| stream::once(async move { Ok(Bytes::from_static(text)) });
    let body = whole(b"[").chain(pages.into_stream()).chain(whole(b"]"));
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

/// The whole record of an execution.
#[utoipa::path(
    get, path = "/executions/{id}", security(("api_key" = [])),
    params(
        ("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has"),
        ("wait" = Option<u64>, Query, description = "seconds to wait for its end, at most 20"),
    ),
    responses(
        (status = 200, body = ExecutionRecord),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_execution(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    path: ExecutionPath,
    params: Params,
) -> Result<Json<ExecutionRecord>, ApiError> {
    let (id, wait) = path.with(&runvoy, &caller, Action::ReadExecution, params.wait()).await?;
    let record = match wait {
        None => runvoy.execution(&caller, &id).await?,
        Some(wait) => runvoy.wait(&caller, &id, wait).await?,
    };
    let waiting = runvoy.waiting(&record).await?;
    let mut answer = ExecutionRecord::new(&record, &runvoy.config().provider);
    answer.position = waiting.as_ref().map(|waiting| waiting.position);
    answer.holder = waiting.as_ref().and_then(|waiting| waiting.holder.as_ref()).map(Into::into);
    Ok(Json(answer))
}

/// Where an execution is in its life.
#[utoipa::path(
    get, path = "/executions/{id}/status", security(("api_key" = [])),
    params(("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has")),
    responses(
        (status = 200, body = StatusAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_status(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    path: ExecutionPath,
) -> Result<Json<StatusAnswer>, ApiError> {
    let (id, ()) = path.with(&runvoy, &caller, Action::ReadExecution, Ok(())).await?;
    Ok(Json(StatusAnswer::new(&runvoy.execution(&caller, &id).await?)))
}

/// Stops an execution.
#[utoipa::path(
    delete, path = "/executions/{id}", security(("api_key" = [])),
    params(("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has")),
    request_body = Option<KillRequest>,
    responses(
        (status = 200, body = KillAnswer), (status = 204, description = "it is over, or on its way there"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn delete_execution(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    path: ExecutionPath,
    body: RawBody,
) -> Result<Response, ApiError> {
    let body = body.parse_or_default::<KillRequest>();
    let (id, request) = path.with(&runvoy, &caller, Action::KillExecution, body).await?;
    let grace = request.grace.map(Duration::from_secs);
    match runvoy.kill(&caller, &id, grace).await? {
        KillOutcome::AlreadyOver(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        KillOutcome::Initiated(record) => {
            let message = "Execution termination initiated".to_owned();
            Ok(Json(KillAnswer { execution_id: record.id, message }).into_response())
        }
    }
}
