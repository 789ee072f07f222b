use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::ApiError;
use crate::id::ParseIdError;

/// The values of a query string. A name that is given twice counts once, the last time.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The value of `name`; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// The whole number `name`.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                ApiError::invalid_query(format!("{name}: a whole number from 0 on, this is `{shown}`"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// The number of whole seconds `name`, at most [`crate::limits::WAIT_SECONDS`].
    pub(super) fn wait(&self) -> Result<Option<Duration>, ApiError> {
        let limit = crate::limits::WAIT_SECONDS;
        match self.number("wait")? {
            Some(seconds) if seconds > limit => {
                Err(ApiError::invalid_query(format!("wait: at most {limit} seconds, this is {seconds}")))
            }
            seconds => Ok(seconds.map(Duration::from_secs)),
        }
    }

    /// `name` as one of our names.
    pub(super) fn parsed<T: FromStr<Err = ParseIdError>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse =
            |text: &str| text.parse().map_err(|error| ApiError::invalid_query(format!("{name}: {error}")));
        self.get(name).map(parse).transpose()
    }

    /// `name` as a time.
    pub(super) fn time(&self, name: &str) -> Result<Option<jiff::Timestamp>, ApiError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ApiError::invalid_query(format!("{name}: a time as 2026-01-31T12:00:00Z")))
        };
        self.get(name).map(parse).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|error| ApiError::invalid_query(format!("query: {error}")))
    }
}
