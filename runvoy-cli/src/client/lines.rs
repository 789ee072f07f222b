//! An answer of JSON lines, as it comes: it may be larger than memory.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::transport::Body;
use super::{IDLE_TIMEOUT, failure, request_id};
use crate::error::CliError;
use crate::settings::Endpoint;

/// What it is called.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";
/// Longest line.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// Lines under way.
pub(crate) struct Lines<'a> {
    endpoint: &'a Endpoint,
    request: Option<String>,
    body: Body,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// The lines of an answer that is none of failure.
    pub(super) fn of(response: Response<Body>, endpoint: &'a Endpoint) -> Result<Self, CliError> {
        let (head, body) = response.into_parts();
        let request = request_id(&head);
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with(JSON_LINES)) {
            return Err(failure::no_runvoy(endpoint).request(request));
        }
        Ok(Self { endpoint, request, body, begun: Vec::new() })
    }

    /// The next lines, whole ones; `None` at the end. An answer that breaks off, or says nothing for long, is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            let frame = timeout(IDLE_TIMEOUT, self.body.frame()).await;
            let data = match frame.unwrap_or_else(|_| Some(Err("it stopped in the middle".into()))) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(e)) => return Err(failure::lost_body(self.endpoint, e).request(self.request.take())),
                None if self.begun.is_empty() => return Ok(None),
                None => {
                    let cut = "its last line is not whole".into();
                    return Err(failure::lost_body(self.endpoint, cut).request(self.request.take()));
                }
            };
            let whole = data.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let (lines, rest) = data.split_at(whole);
            let begun = std::mem::take(&mut self.begun);
            if whole > 0 {
                self.begun = rest.to_vec();
                return Ok(Some([begun.as_slice(), lines].concat().into()));
            }
            self.begun = [begun.as_slice(), rest].concat();
            if self.begun.len() > LINE_BYTES {
                return Err(failure::no_runvoy(self.endpoint).request(self.request.take()));
            }
        }
    }

    /// The values of some lines.
    pub(crate) fn values(&self, lines: &[u8]) -> Result<Vec<Value>, CliError> {
        let values: serde_json::Result<_> = serde_json::Deserializer::from_slice(lines).into_iter().collect();
        values.map_err(|e| failure::no_runvoy(self.endpoint).because(e).request(self.request.clone()))
    }

    /// The values of all lines; for answers that are short.
    pub(crate) async fn all(mut self) -> Result<Vec<Value>, CliError> {
        let mut all = Vec::new();
        while let Some(lines) = self.next().await? {
            all.append(&mut self.values(&lines)?);
        }
        Ok(all)
    }
}
