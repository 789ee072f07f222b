use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;

use super::ApiError;
use super::json::RawBody;
use super::query::Params;
use crate::api::{
    CreateSecretRequest, ErrorBody, SecretAnswer, SecretData, SecretDone, SecretsAnswer, UpdateSecretRequest,
};
use crate::{Caller, Runvoy};

/// The secrets that the caller may read, by name, without their values.
#[utoipa::path(
    get, path = "/secrets", security(("api_key" = [])),
    responses(
        (status = 200, body = SecretsAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_secrets(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<SecretsAnswer>, ApiError> {
    let secrets = runvoy.secrets(&caller).await?;
    let secrets: Vec<_> = secrets.into_iter().map(|secret| SecretData::new(secret, None)).collect();
    Ok(Json(SecretsAnswer { total: secrets.len(), secrets }))
}

/// Adds a secret, which the caller owns.
#[utoipa::path(
    post, path = "/secrets", security(("api_key" = [])), request_body = CreateSecretRequest,
    responses(
        (status = 201, body = SecretDone),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn post_secret(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<impl IntoResponse, ApiError> {
    let request: CreateSecretRequest = match body.parse() {
        Ok(request) => request,
        Err(error) => {
            // Who may not do this at all is told that, and not what is wrong with the body.
            runvoy.check_secrets(&caller).await?;
            return Err(error);
        }
    };
    let secret = runvoy.create_secret(&caller, &request).await?;
    let message = "Secret created successfully".to_owned();
    Ok((StatusCode::CREATED, Json(SecretDone { name: secret.name, message, version: secret.version })))
}

/// One secret and, unless `value=false`, what it holds: that is recorded.
#[utoipa::path(
    get, path = "/secrets/{name}", security(("api_key" = [])),
    params(
        ("name" = String, Path, description = "the secret"),
        ("value" = Option<bool>, Query, description = "`false`: without its value"),
    ),
    responses(
        (status = 200, body = SecretAnswer), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_secret(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<SecretAnswer>, ApiError> {
    let secret = match params.get("value") {
        Some("false") => SecretData::new(runvoy.secret(&caller, &name).await?, None),
        None | Some("true") => {
            let (secret, value) = runvoy.reveal_secret(&caller, &name).await?;
            SecretData::new(secret, Some(&value))
        }
        Some(_) => return Err(ApiError::invalid_query("value: `true` or `false`".to_owned())),
    };
    Ok(Json(SecretAnswer { secret }))
}

/// Changes a secret. What the body does not name, or leaves empty, stays.
#[utoipa::path(
    put, path = "/secrets/{name}", security(("api_key" = [])), request_body = UpdateSecretRequest,
    params(("name" = String, Path, description = "the secret")),
    responses(
        (status = 200, body = SecretDone),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn put_secret(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    Path(name): Path<String>,
    body: RawBody,
) -> Result<Json<SecretDone>, ApiError> {
    let request: UpdateSecretRequest = match body.parse() {
        Ok(request) => request,
        Err(error) => {
            runvoy.check_secret_update(&caller, &name).await?;
            return Err(error);
        }
    };
    let secret = runvoy.update_secret(&caller, &name, &request).await?;
    let message = "Secret updated successfully".to_owned();
    Ok(Json(SecretDone { name: secret.name, message, version: secret.version }))
}

/// Deletes a secret. Commands that have it keep it.
#[utoipa::path(
    delete, path = "/secrets/{name}", security(("api_key" = [])),
    params(("name" = String, Path, description = "the secret")),
    responses(
        (status = 200, body = SecretDone), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn delete_secret(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<SecretDone>, ApiError> {
    let secret = runvoy.delete_secret(&caller, &name).await?;
    let message = "Secret deleted successfully".to_owned();
    Ok(Json(SecretDone { name: secret.name, message, version: secret.version }))
}
