//! What the log says of each request: the span that everything of it stands in, and one line at its end.

use std::time::Duration;

use axum::response::Response;
use http::Method;
use tracing::Span;
use tracing::field::Empty;

use super::error::Failure;
use crate::id::{Email, RequestId};

/// Characters of a path that the log shows.
const PATH_CHARS: usize = 200;

/// The span of a request. As high as an error: whatever of it is logged says which it is of.
pub(super) fn span(request: RequestId, method: &Method, path: &str) -> Span {
    let path = path.char_indices().nth(PATH_CHARS).map_or(path, |(at, _)| path.get(..at).unwrap_or(path));
    tracing::error_span!("request", request.id = %request, %method, path, user = Empty)
}

/// Says in the span of the request that it is this user's.
pub(super) fn is_of(user: &Email) {
    Span::current().record("user", user.as_str());
}

/// Logs how a request was answered: a failure of ours with its causes, once; everything else where somebody looks for it.
pub(super) fn answered(span: &Span, response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if let Some(Failure(chain)) = response.extensions().get::<Failure>() {
            tracing::error!(status, milliseconds, cause = chain, "request failed");
        } else {
            tracing::debug!(status, milliseconds, "request answered");
        }
    });
}
