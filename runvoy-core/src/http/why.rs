use axum::Json;
use axum::extract::State;

use super::ApiError;
use super::executions::ExecutionPath;
use crate::api::{ErrorBody, WhyAnswer};
use crate::port::Action;
use crate::{Caller, Runvoy};

/// Says why an execution waits, was denied, failed or was slow.
#[utoipa::path(
    get, path = "/executions/{id}/why", security(("api_key" = [])),
    params(("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has")),
    responses(
        (status = 200, body = WhyAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_why(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    path: ExecutionPath,
) -> Result<Json<WhyAnswer>, ApiError> {
    let (id, ()) = path.with(&runvoy, &caller, Action::ReadExecution, Ok(())).await?;
    Ok(Json(WhyAnswer::new(&runvoy.why(&caller, &id).await?)))
}
