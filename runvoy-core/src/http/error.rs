//! Errors to status and body.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};

use super::auth;
use crate::api::{BASE_PATH, ErrorBody, code};
use crate::runvoy::{denial, error_chain};
use crate::{Error, RequestContext, Runvoy, Unauthenticated};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u64 = 2;

/// An error on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    /// What only the log gets to know.
    cause: Option<String>,
    /// Seconds after which to try again, where that is known.
    retry_after: u64,
}

/// The causes of a failure of ours, for the log line that names the request.
#[derive(Clone)]
pub(super) struct Failure(pub(super) String);

impl ApiError {
    pub(super) fn new(status: StatusCode, error: &str, code: Option<&str>, details: Option<String>) -> Self {
        let body = ErrorBody {
            error: error.to_owned(),
            code: code.map(str::to_owned),
            // Existing clients feed the text to printf.
            details: details.map(|text| text.replace('%', "\u{ff05}")),
            holder: None,
        };
        Self { status, body, cause: None, retry_after: RETRY_AFTER }
    }

    pub(super) fn invalid(details: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid request", Some(code::INVALID_REQUEST), Some(details))
    }

    /// A query value that is not as it must be.
    pub(super) fn invalid_query(details: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid request", Some(code::INVALID_QUERY), Some(details))
    }

    /// A body that is not JSON, or has a field of the wrong type.
    pub(super) fn malformed_body(details: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid request body", None, Some(details))
    }

    fn unauthorized(why: Unauthenticated) -> Self {
        let code = match why {
            Unauthenticated::Missing | Unauthenticated::NoToken => None,
            Unauthenticated::BadToken => Some(code::INVALID_STREAM_TOKEN),
            Unauthenticated::Unknown => Some(code::INVALID_API_KEY),
            Unauthenticated::Revoked => Some(code::API_KEY_REVOKED),
            Unauthenticated::Expired => Some(code::API_KEY_EXPIRED),
        };
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", code, Some(why.to_string()))
    }

    fn denied(error: &Error) -> Self {
        let Error::Denied { action, resource, policy, by_content } = error else {
            return Self::new(StatusCode::FORBIDDEN, "Forbidden", None, None);
        };
        let details = denial(policy.as_ref(), *action, resource);
        let code = by_content.then_some(code::FORBIDDEN);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", code, Some(details))
    }

    fn unavailable(error: &Error, what: &str) -> Self {
        let is_store = what.contains("store") || what.contains("audit");
        let code = if is_store { code::DATABASE_ERROR } else { code::SERVICE_UNAVAILABLE };
        let details = format!("{what} is not available; try again in a moment");
        let body =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "service unavailable", Some(code), Some(details));
        Self { cause: Some(error_chain(error)), ..body }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Unauthenticated(why) => Self::unauthorized(*why),
            Error::Denied { .. } => Self::denied(&error),
            Error::Invalid { .. } => Self::invalid(error.to_string()),
            Error::NotFound { what } => {
                Self::new(StatusCode::NOT_FOUND, "not found", Some(code::NOT_FOUND), Some(what.clone()))
            }
            Error::SecretNotFound { .. } => {
                let details = Some(error.to_string());
                Self::new(StatusCode::NOT_FOUND, "not found", Some(code::SECRET_NOT_FOUND), details)
            }
            Error::SecretExists { .. } => {
                let details = Some(error.to_string());
                Self::new(StatusCode::CONFLICT, "conflict", Some(code::SECRET_ALREADY_EXISTS), details)
            }
            Error::Conflict { message } => {
                Self::new(StatusCode::CONFLICT, "conflict", Some(code::CONFLICT), Some(message.clone()))
            }
            Error::IdempotencyConflict => {
                let details = Some(error.to_string());
                Self::new(StatusCode::CONFLICT, "conflict", Some(code::IDEMPOTENCY_CONFLICT), details)
            }
            Error::LockHeld { holder, .. } => {
                let details = Some(format!("{error}; wait for it with `--wait`, or try again later"));
                let mut held = Self::new(StatusCode::CONFLICT, "lock held", Some(code::LOCK_HELD), details);
                held.body.holder = holder.as_deref().map(|holder| Box::new(holder.into()));
                held
            }
            Error::QueueFull { .. } => {
                let details = Some(format!("{error}; try again later"));
                Self::new(StatusCode::TOO_MANY_REQUESTS, "queue full", Some(code::QUEUE_FULL), details)
            }
            Error::TooManyLive { .. } => {
                let details = Some(format!("{error}; wait until one has ended, or kill one"));
                let code = Some(code::TOO_MANY_EXECUTIONS);
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too many executions", code, details)
            }
            Error::TooManyRequests { retry_after } => {
                let code = Some(code::TOO_MANY_REQUESTS);
                let details = Some(error.to_string());
                let status = StatusCode::TOO_MANY_REQUESTS;
                // Whole seconds, and not too early.
                let retry_after = retry_after.as_secs() + 1;
                Self { retry_after, ..Self::new(status, "too many requests", code, details) }
            }
            Error::Busy { message } => {
                let code = Some(code::SERVICE_UNAVAILABLE);
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not now", code, Some(message.clone()))
            }
            Error::Unavailable { what, .. } => Self::unavailable(&error, what),
            Error::Internal { .. } => Self {
                cause: Some(error_chain(&error)),
                ..Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal error",
                    Some(code::INTERNAL_ERROR),
                    Some("the server's log has the cause, under this request's id".to_owned()),
                )
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, self.retry_after.into());
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Failure(cause));
        }
        response
    }
}

/// Below these, who may not know a thing is not told that a path is unknown either.
const KEYED: [&str; 7] = ["/run", "/users", "/images", "/secrets", "/executions", "/trace", "/code"];

/// Answers for a path that no route has.
pub(super) async fn unknown_route(
    State(runvoy): State<Runvoy>,
    axum::Extension(context): axum::Extension<RequestContext>,
    uri: Uri,
    headers: HeaderMap,
) -> ApiError {
    let keyed = uri.path().strip_prefix(BASE_PATH).is_some_and(|path| {
        KEYED
            .iter()
            .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    });
    if keyed && let Err(error) = auth::caller(&runvoy, &headers, context).await {
        return error;
    }
    let details = Some(format!("there is no route {}", uri.path()));
    ApiError::new(StatusCode::NOT_FOUND, "not found", Some(code::NOT_FOUND), details)
}

/// Answers for a method that a known path does not have; axum adds `Allow`.
pub(super) async fn unknown_method(uri: Uri) -> ApiError {
    let details = Some(format!("{} does not take that; `Allow` says what it takes", uri.path()));
    let code = Some(code::METHOD_NOT_ALLOWED);
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", code, details)
}
