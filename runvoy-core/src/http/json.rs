use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::ApiError;
use crate::limits;

/// A body of at most [`limits::BODY_BYTES`], not yet parsed: the caller's rights are looked at first.
pub(super) struct RawBody(Bytes);

impl RawBody {
    /// Parses the first JSON value of the body, whatever its content type says; existing clients send some bytes after
    /// it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.0.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(ApiError::malformed_body("a JSON object is expected".to_owned()));
        }
        let mut values = serde_json::Deserializer::from_slice(&self.0).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(ApiError::malformed_body(error.to_string())),
            None => Err(ApiError::malformed_body("the body is empty; a JSON object is expected".to_owned())),
        }
    }

    /// The same for a body that may be left out.
    pub(super) fn parse_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.0.trim_ascii().is_empty() { Ok(T::default()) } else { self.parse() }
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let arrived = tokio::time::timeout(limits::BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let Ok(body) = arrived else {
            let details = Some("the body took too long to arrive".to_owned());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request timeout", None, details));
        };
        body.map(Self).map_err(|rejection| refused(rejection, length))
    }
}

fn refused(rejection: BytesRejection, length: Option<u64>) -> ApiError {
    let text = rejection.body_text();
    if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
        let size = length.map_or_else(|| "more".to_owned(), |bytes| bytes.to_string());
        return ApiError::invalid(format!("body: at most {} bytes, this is {size}", limits::BODY_BYTES));
    }
    ApiError::malformed_body(text)
}
