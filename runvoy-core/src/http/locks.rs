use axum::Json;
use axum::extract::{Path, State};

use super::ApiError;
use super::query::Params;
use crate::api::{ErrorBody, LockData, LocksAnswer, ReleaseAnswer};
use crate::id::LockName;
use crate::{Caller, ForcedRelease, LockView, Runvoy};

fn data(view: LockView) -> LockData {
    let mut data = LockData::new(view.name, &view.lock);
    if let Some(holder) = &mut data.holder {
        holder.last_seen = view.last_seen;
    }
    data
}

/// The lock that a path names, percent-encoded.
pub(super) struct LockPath(LockName);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for LockPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::invalid(format!("lock: {error}")))?;
        text.parse().map(Self).map_err(|error| ApiError::invalid(format!("lock: {error}")))
    }
}

/// Every lock that is held or waited for.
#[utoipa::path(
    get, path = "/locks", security(("api_key" = [])),
    responses(
        (status = 200, body = LocksAnswer),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn list_locks(
    State(runvoy): State<Runvoy>,
    caller: Caller,
) -> Result<Json<LocksAnswer>, ApiError> {
    let locks = runvoy.locks(&caller).await?.into_iter().map(data).collect();
    Ok(Json(LocksAnswer { locks }))
}

/// One lock, whether it is held or not.
#[utoipa::path(
    get, path = "/locks/{name}", security(("api_key" = [])),
    params(("name" = String, Path, description = "the lock, percent-encoded")),
    responses(
        (status = 200, body = LockData), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_lock(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    LockPath(name): LockPath,
) -> Result<Json<LockData>, ApiError> {
    Ok(Json(data(runvoy.lock(&caller, &name).await?)))
}

/// Takes a lock from its holder, who is stopped first.
#[utoipa::path(
    delete, path = "/locks/{name}", security(("api_key" = [])),
    params(
        ("name" = String, Path, description = "the lock, percent-encoded"),
        ("abandon" = Option<bool>, Query, description = "`true` frees it at once, although its holder may still run"),
    ),
    responses(
        (status = 200, body = ReleaseAnswer), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn delete_lock(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    LockPath(name): LockPath,
    params: Params,
) -> Result<Json<ReleaseAnswer>, ApiError> {
    let how = match params.get("abandon") {
        None | Some("false") => ForcedRelease::StopHolder,
        Some("true") => ForcedRelease::Abandon,
        Some(_) => return Err(ApiError::invalid_query("abandon: `true` or `false`".to_owned())),
    };
    let holder = runvoy.force_release(&caller, &name, how).await?;
    let message = match how {
        ForcedRelease::StopHolder => "The holder is being stopped; the lock is free when its task is gone",
        ForcedRelease::Abandon => "The lock was taken at once; its former holder may still run",
    };
    Ok(Json(ReleaseAnswer { name, holder: (&holder).into(), message: message.to_owned() }))
}
