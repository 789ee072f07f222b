use axum::Json;
use axum::extract::State;

use super::ApiError;
use super::json::RawBody;
use crate::api::{AuthzAnswer, AuthzCheck, ErrorBody, PoliciesAnswer};
use crate::{Caller, Runvoy};

/// Whether the caller may do something, decided as the real thing would be. Nothing is done, and nothing recorded.
#[utoipa::path(
    post, path = "/authz/check", security(("api_key" = [])),
    request_body = AuthzCheck,
    responses(
        (status = 200, body = AuthzAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn post_check(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<Json<AuthzAnswer>, ApiError> {
    Ok(Json(runvoy.can_i(&caller, body.parse()?).await?.into()))
}

/// The policies that are in force.
#[utoipa::path(
    get, path = "/policies", security(("api_key" = [])),
    responses(
        (status = 200, body = PoliciesAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_policies(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<PoliciesAnswer>, ApiError> {
    Ok(Json(runvoy.policies(&caller).await?.into()))
}
