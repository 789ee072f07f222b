use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};

use super::ApiError;
use super::base::Base;
use super::json::RawBody;
use crate::api::{ErrorBody, IDEMPOTENCY_KEY_HEADER, RunAnswer, RunRequest};
use crate::{Caller, IdempotencyKey, Runvoy};

/// Starts a command. Answers once it is recorded for good.
#[utoipa::path(
    post, path = "/run", security(("api_key" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "1 to 255 visible ASCII characters; the same key and body answer the same execution for 24 hours")),
    request_body = RunRequest,
    responses(
        (status = 202, body = RunAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn post_run(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    base: Base,
    headers: HeaderMap,
    body: RawBody,
) -> Result<(StatusCode, Json<RunAnswer>), ApiError> {
    runvoy.check_run(&caller).await?;
    let key = idempotency_key(&headers)?;
    let request: RunRequest = body.parse()?;
    let record = runvoy.run(&caller, request, key).await?;
    let waiting = runvoy.waiting(&record).await?;
    let websocket_url = base.websocket_url(&runvoy, &caller, record.id);
    let answer = RunAnswer {
        execution_id: record.id,
        log_url: String::new(),
        status: record.status,
        command: record.command,
        image_id: record.image_id.unwrap_or_default(),
        websocket_url,
        position: waiting.as_ref().map(|waiting| waiting.position),
        holder: waiting.as_ref().and_then(|waiting| waiting.holder.as_ref()).map(Into::into),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY_HEADER) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().parse();
    key.map(Some).map_err(|error| ApiError::invalid(format!("Idempotency-Key: {error}")))
}
