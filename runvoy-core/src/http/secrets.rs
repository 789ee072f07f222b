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
use crate::port::Action;
use crate::{Caller, Runvoy};

/// The secret that a path names, not yet parsed: the caller's rights are looked at first.
pub(super) struct SecretPath(String);

impl SecretPath {
    /// The name, and what else the request says. Who may not do this to the secret is told that, and not what is wrong with
    /// the rest.
    async fn with<T>(
        self,
        runvoy: &Runvoy,
        caller: &Caller,
        action: Action,
        rest: Result<T, ApiError>,
    ) -> Result<(String, T), ApiError> {
        match rest {
            Ok(rest) => Ok((self.0, rest)),
            Err(error) => {
                runvoy.check_secret(caller, action, &self.0).await?;
                Err(error)
            }
        }
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for SecretPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        // What is no text is no name of ours.
        Ok(Self(Path::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default()))
    }
}

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
    path: SecretPath,
    params: Params,
) -> Result<Json<SecretAnswer>, ApiError> {
    let with_value = match params.get("value") {
        Some("false") => Ok(false),
        None | Some("true") => Ok(true),
        Some(_) => Err(ApiError::invalid_query("value: `true` or `false`".to_owned())),
    };
    let (name, with_value) = path.with(&runvoy, &caller, Action::ReadSecret, with_value).await?;
    let secret = if with_value {
        let (secret, value) = runvoy.reveal_secret(&caller, &name).await?;
        SecretData::new(secret, Some(&value))
    } else {
        SecretData::new(runvoy.secret(&caller, &name).await?, None)
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
    path: SecretPath,
    body: RawBody,
) -> Result<Json<SecretDone>, ApiError> {
    let request = body.parse::<UpdateSecretRequest>();
    let (name, request) = path.with(&runvoy, &caller, Action::UpdateSecret, request).await?;
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
    SecretPath(name): SecretPath,
) -> Result<Json<SecretDone>, ApiError> {
    let secret = runvoy.delete_secret(&caller, &name).await?;
    let message = "Secret deleted successfully".to_owned();
    Ok(Json(SecretDone { name: secret.name, message, version: secret.version }))
}
