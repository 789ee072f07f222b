use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

use super::ApiError;
use crate::api::{ErrorBody, TraceAnswer};
use crate::{Caller, Runvoy};

/// The server's own log lines of a request, and what the request was about. Of an unknown one: nothing.
#[utoipa::path(
    get, path = "/trace/{request_id}", security(("api_key" = [])),
    params(("request_id" = String, Path, description = "the id that an answer carried as `X-Request-Id`")),
    responses(
        (status = 200, body = TraceAnswer), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_trace(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    request: Result<Path<String>, PathRejection>,
) -> Result<Json<TraceAnswer>, ApiError> {
    let Path(request) = request.map_err(|error| ApiError::invalid(format!("request: {error}")))?;
    let trace = runvoy.trace(&caller, &request).await?;
    Ok(Json(TraceAnswer::new(&request, trace, &runvoy.config().provider, runvoy.now())))
}
