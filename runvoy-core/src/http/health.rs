use axum::Json;
use axum::extract::State;

use super::ApiError;
use crate::api::{ErrorBody, ReconcileAnswer};
use crate::{Caller, Runvoy};

/// Makes a pass of reconciliation, as the server does every few seconds by itself, and says what it found and mended.
#[utoipa::path(
    post, path = "/health/reconcile", security(("api_key" = [])),
    responses(
        (status = 200, body = ReconcileAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn post_reconcile(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<ReconcileAnswer>, ApiError> {
    let report = runvoy.check_health(&caller).await?;
    Ok(Json(ReconcileAnswer { status: "ok".to_owned(), report }))
}
