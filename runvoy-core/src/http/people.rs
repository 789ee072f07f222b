use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::StatusCode;

use super::ApiError;
use super::json::RawBody;
use crate::api::{
    ClaimAnswer, CreateUserRequest, ErrorBody, InvitationAnswer, RevokeAnswer, RevokeUserRequest,
    RotateUserRequest, UserData, UsersAnswer,
};
use crate::port::Action;
use crate::{Caller, Invitation, RequestContext, Runvoy};

/// Everybody, by email.
#[utoipa::path(
    get, path = "/users", security(("api_key" = [])),
    responses(
        (status = 200, body = UsersAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_users(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<UsersAnswer>, ApiError> {
    let now = runvoy.now();
    let users = runvoy.users(&caller).await?.into_iter().map(|user| UserData::at(now, user)).collect();
    Ok(Json(UsersAnswer { users }))
}

/// Makes somebody known. The answer's claim token fetches their key, once.
#[utoipa::path(
    post, path = "/users/create", security(("api_key" = [])), request_body = CreateUserRequest,
    responses(
        (status = 201, body = InvitationAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn create_user(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<impl IntoResponse, ApiError> {
    let request: CreateUserRequest = parse(&runvoy, &caller, Action::CreateUser, &body).await?;
    let invitation = runvoy.create_user(&caller, &request).await?;
    Ok((StatusCode::CREATED, Json(invited(&runvoy, invitation))))
}

/// Takes somebody's key back. The user stays known.
#[utoipa::path(
    post, path = "/users/revoke", security(("api_key" = [])), request_body = RevokeUserRequest,
    responses(
        (status = 200, body = RevokeAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn revoke_user(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<Json<RevokeAnswer>, ApiError> {
    let request: RevokeUserRequest = parse(&runvoy, &caller, Action::RevokeUser, &body).await?;
    let user = runvoy.revoke_user(&caller, &request.email).await?;
    let message = "user API key revoked successfully".to_owned();
    Ok(Json(RevokeAnswer { message, email: user.email }))
}

/// Replaces somebody's key: the old one stops at once, the answer's claim token fetches the new one.
#[utoipa::path(
    post, path = "/users/rotate", security(("api_key" = [])), request_body = RotateUserRequest,
    responses(
        (status = 200, body = InvitationAnswer),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn rotate_user(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    body: RawBody,
) -> Result<impl IntoResponse, ApiError> {
    let request: RotateUserRequest = parse(&runvoy, &caller, Action::RotateUser, &body).await?;
    let invitation = runvoy.rotate_user(&caller, &request).await?;
    Ok(Json(invited(&runvoy, invitation)))
}

/// Fetches a key with a claim token: once, and within 15 minutes. Needs no key.
#[utoipa::path(
    get, path = "/claim/{token}",
    params(("token" = String, Path, description = "the claim token")),
    responses(
        (status = 200, body = ClaimAnswer),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_claim(
    State(runvoy): State<Runvoy>,
    Extension(context): Extension<RequestContext>,
    token: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<ClaimAnswer>, ApiError> {
    // What is no text is no token of ours.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let claimed = runvoy.claim(&token, context).await?;
    Ok(Json(ClaimAnswer {
        api_key: claimed.key.reveal().to_owned(),
        user_email: claimed.user.email,
        message: "API key claimed successfully".to_owned(),
    }))
}

/// A body; who may not do this at all is told that, and not what is wrong with it.
async fn parse<T: serde::de::DeserializeOwned>(
    runvoy: &Runvoy,
    caller: &Caller,
    action: Action,
    body: &RawBody,
) -> Result<T, ApiError> {
    match body.parse() {
        Ok(request) => Ok(request),
        Err(error) => {
            runvoy.check_people(caller, action).await?;
            Err(error)
        }
    }
}

fn invited(runvoy: &Runvoy, invitation: Invitation) -> InvitationAnswer {
    InvitationAnswer {
        user: UserData::at(runvoy.now(), invitation.user),
        claim_token: invitation.claim_token.reveal().to_owned(),
        warning: invitation.warning.map(str::to_owned),
    }
}
