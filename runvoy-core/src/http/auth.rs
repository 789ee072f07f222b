use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use super::{ApiError, request_log};
use crate::api::API_KEY_HEADER;
use crate::{Caller, Error, RequestContext, Runvoy, Unauthenticated};

/// Who sent a request: `X-API-Key` to a caller. Takes no decision about what they may do.
pub(super) async fn caller(
    runvoy: &Runvoy,
    headers: &HeaderMap,
    context: RequestContext,
) -> Result<Caller, ApiError> {
    let key = match headers.get(API_KEY_HEADER) {
        None => None,
        // A key that is not even text is no key of ours.
        Some(value) => Some(
            std::str::from_utf8(value.as_bytes())
                .map_err(|_| ApiError::from(Error::Unauthenticated(Unauthenticated::Unknown)))?,
        ),
    };
    let caller = runvoy.authenticate(key, context).await?;
    request_log::is_of(caller.user());
    Ok(caller)
}

impl FromRequestParts<Runvoy> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runvoy: &Runvoy) -> Result<Self, ApiError> {
        let context =
            parts.extensions.get::<RequestContext>().copied().unwrap_or_else(RequestContext::internal);
        caller(runvoy, &parts.headers, context).await
    }
}
