use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::header;

use super::ApiError;
use crate::api::{Greeting, Health, Me};
use crate::{Caller, Runvoy, limits};

/// Whether the server answers, and which it is.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health)))]
pub(super) async fn get_health(State(runvoy): State<Runvoy>) -> Json<Health> {
    let config = runvoy.config();
    Json(Health {
        status: "ok".to_owned(),
        version: config.version.clone(),
        provider: config.provider.clone(),
        region: config.region.clone(),
    })
}

/// Greets.
#[utoipa::path(
    get, path = "/greet/{name}",
    params(("name" = String, Path, description = "whom to greet")),
    responses((status = 200, body = Greeting), (status = 400, body = crate::api::ErrorBody))
)]
pub(super) async fn get_greeting(
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Greeting>, ApiError> {
    let Path(name) = name.map_err(|error| ApiError::invalid(format!("name: {error}")))?;
    let length = name.chars().count();
    if length > limits::GREET_NAME {
        let limit = limits::GREET_NAME;
        return Err(ApiError::invalid(format!("name: at most {limit} characters, these are {length}")));
    }
    Ok(Json(Greeting { message: format!("Hello, {name}!") }))
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/me", security(("api_key" = [])),
    responses((status = 200, body = Me), (status = 401, body = crate::api::ErrorBody))
)]
pub(super) async fn get_me(caller: Caller) -> Json<Me> {
    Json(Me { email: caller.user().clone(), role: caller.role(), key_expires_at: caller.key_expires_at() })
}

/// The document that describes every route.
pub(super) fn openapi(document: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
