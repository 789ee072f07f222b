//! The API's client, over any transport.

mod code;
mod failure;
mod lines;
mod retry;
pub(crate) mod sse;
pub(crate) mod stream;
mod transport;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use runvoy_core::api::{
    API_KEY_HEADER, BASE_PATH, ExecutionRecord, IDEMPOTENCY_KEY_HEADER, KillRequest, REQUEST_ID_HEADER,
    RunAnswer, RunRequest,
};
use runvoy_core::id::{ExecutionId, IdPrefix};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::CliError;
use crate::settings::{Endpoint, Settings};
pub(crate) use failure::is_passing;
pub(crate) use lines::Lines;
pub(crate) use retry::Backoff;
use transport::{Body, HttpTransport, Transport, TransportError};

/// Within this the head of an answer is there, on top of what the request asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A document whose bytes pause for longer is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest document.
const DOCUMENT_BYTES: usize = 512 * 1024 * 1024;
/// How long a start is tried again after the connection or the server failed.
const RUN_PATIENCE: Duration = Duration::from_secs(20);
/// How long one question asks the server to wait for an answer worth giving.
const LONG_POLL: Duration = Duration::from_secs(20);
const AGENT: &str = concat!("runvoy/", env!("CARGO_PKG_VERSION"));

/// Talks to one server.
pub(crate) struct Client {
    transport: Box<dyn Transport>,
    endpoint: Endpoint,
    key: Option<HeaderValue>,
    /// How to come by a key.
    key_hint: &'static str,
    /// The server ends with this process.
    is_in_process: bool,
}

/// One request; the path may carry a query.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    accept: &'static str,
    idempotency_key: Option<&'a str>,
    wait: Duration,
}

impl<'a> Call<'a> {
    fn get(path: &'a str) -> Self {
        let (body, wait) = (Bytes::new(), Duration::ZERO);
        Self { method: Method::GET, path, body, accept: "application/json", idempotency_key: None, wait }
    }
}

/// A document of the API, checked to be one, with its bytes as the server wrote them.
#[derive(Debug)]
pub(crate) struct Document<T> {
    /// What it says.
    pub(crate) value: T,
    bytes: Bytes,
}

impl<T> Document<T> {
    /// The server's own JSON and a newline.
    pub(crate) fn json(&self) -> Vec<u8> {
        [self.bytes.trim_ascii(), b"\n"].concat()
    }
}

/// What a kill found.
#[derive(Debug)]
pub(crate) enum Killed {
    /// It is being stopped; the server's answer.
    Stopping(Vec<u8>),
    /// It was over already.
    Over,
}

impl Client {
    /// Over the network.
    pub(crate) fn connect(settings: Settings) -> Self {
        let https = settings.endpoint.as_str().starts_with("https:");
        let transport = Box::new(HttpTransport::new(https));
        let key_hint = failure::key_hint(&settings);
        let Settings { endpoint, key, .. } = settings;
        Self { transport, endpoint, key, key_hint, is_in_process: false }
    }

    /// Into a router of this process.
    #[cfg(feature = "local")]
    pub(crate) fn in_process(router: axum::Router, key: HeaderValue) -> Self {
        let transport = Box::new(transport::RouterTransport(router));
        let (endpoint, key) = (Endpoint::in_process(), Some(key));
        Self { transport, endpoint, key, key_hint: failure::ANOTHER_KEY, is_in_process: true }
    }

    /// Whether the server ends with this process, so that nobody can ask it afterwards.
    pub(crate) fn is_in_process(&self) -> bool {
        self.is_in_process
    }

    /// Gets a document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Document<T>, CliError> {
        self.ask(&Call::get(path)).await
    }

    /// Posts a request that is not repeated.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<Document<T>, CliError> {
        self.ask(&Call { method: Method::POST, body: to_json(request)?, ..Call::get(path) }).await
    }

    /// Puts a document, which may be done twice.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<Document<T>, CliError> {
        self.ask(&Call { method: Method::PUT, body: to_json(request)?, ..Call::get(path) }).await
    }

    /// Deletes something that answers with a document.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Document<T>, CliError> {
        self.ask(&Call { method: Method::DELETE, ..Call::get(path) }).await
    }

    /// Gets JSON lines, however many.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines<'_>, CliError> {
        let call = Call { accept: lines::JSON_LINES, ..Call::get(path) };
        let response = self.send(&call).await.map_err(|e| self.unreachable(e))?;
        if response.status().is_success() {
            return Lines::of(response, &self.endpoint);
        }
        self.parsed(&call, response, |_| Ok(())).await?;
        Err(failure::no_runvoy(&self.endpoint))
    }

    /// The record of an execution, named by the beginning of its id.
    pub(crate) async fn execution(&self, id: &IdPrefix) -> Result<Document<ExecutionRecord>, CliError> {
        self.get(&format!("/executions/{}", id.as_str())).await
    }

    /// The whole id; the server is asked only if a part was given.
    pub(crate) async fn whole_id(&self, id: &IdPrefix) -> Result<ExecutionId, CliError> {
        match id.whole() {
            Some(id) => Ok(id),
            None => Ok(self.execution(id).await?.value.execution_id),
        }
    }

    /// The record once it is terminal, or after the server's patience.
    async fn long_poll(&self, id: &IdPrefix, wait: Duration) -> Result<Document<ExecutionRecord>, CliError> {
        let wait = wait.min(LONG_POLL);
        let path = format!("/executions/{}?wait={}", id.as_str(), wait.as_secs());
        self.ask(&Call { wait, ..Call::get(&path) }).await
    }

    /// Waits until an execution is terminal; `None` when `limit` is over first.
    pub(crate) async fn wait(
        &self,
        id: &IdPrefix,
        limit: Option<Duration>,
    ) -> Result<Option<Document<ExecutionRecord>>, CliError> {
        let deadline = limit.and_then(|limit| tokio::time::Instant::now().checked_add(limit));
        let mut backoff = Backoff::new(stream::PATIENCE);
        let mut asked_before = false;
        loop {
            let begun = tokio::time::Instant::now();
            let left = deadline.map_or(LONG_POLL, |at| at.saturating_duration_since(begun));
            match self.long_poll(id, left).await {
                Ok(record) if record.value.status.is_terminal() => return Ok(Some(record)),
                Ok(_) => backoff.reset(),
                Err(e) if !asked_before || !is_passing(&e) => return Err(e),
                Err(e) if !backoff.pause(None).await => return Err(e),
                Err(_) => {}
            }
            asked_before = true;
            if deadline.is_some_and(|at| at <= tokio::time::Instant::now()) {
                return Ok(None);
            }
            // A server that does not wait is not asked in a tight loop.
            let pause = begun + left.min(Duration::from_secs(1));
            tokio::time::sleep_until(pause).await;
        }
    }

    /// Starts a command. The same key is sent again after a lost connection or a passing failure, so that
    /// nothing is started twice.
    pub(crate) async fn run(&self, request: &RunRequest, key: &str) -> Result<Document<RunAnswer>, CliError> {
        let body = to_json(request)?;
        let call = Call { method: Method::POST, body, idempotency_key: Some(key), ..Call::get("/run") };
        let mut backoff = Backoff::new(RUN_PATIENCE);
        loop {
            let (error, asked) = match self.send(&call).await {
                // Nothing was sent and nothing can be half done: the server is not there.
                Err(e) if !e.sent && backoff.is_fresh() => return Err(self.unreachable(e)),
                Err(e) => (self.unreachable(e), None),
                Ok(response) => {
                    let asked = retry_after(&response);
                    let again = failure::is_passing_status(response.status());
                    match self.document(&call, response).await {
                        Err(e) if again || failure::is_lost_body(&e) => (e, asked),
                        done => return done,
                    }
                }
            };
            if !backoff.pause(asked).await {
                return Err(error);
            }
        }
    }

    /// Asks for an execution's end.
    pub(crate) async fn kill(&self, id: ExecutionId, grace: Option<u64>) -> Result<Killed, CliError> {
        let path = format!("/executions/{id}");
        let body = if grace.is_some() { to_json(&KillRequest { grace })? } else { Bytes::new() };
        let call = Call { method: Method::DELETE, body, ..Call::get(&path) };
        let response = self.send(&call).await.map_err(|e| self.unreachable(e))?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Killed::Over);
        }
        Ok(Killed::Stopping(self.document::<serde_json::Value>(&call, response).await?.json()))
    }

    async fn send(&self, call: &Call<'_>) -> Result<Response<Body>, TransportError> {
        let mut head = self.head(call);
        if !call.body.is_empty() {
            head = head.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(call.body.clone()).map_err(|never| match never {}).boxed_unsync();
        self.exchange(call, head, body).await
    }

    /// What every request says of itself.
    fn head(&self, call: &Call<'_>) -> http::request::Builder {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{BASE_PATH}{}", self.endpoint, call.path))
            .header(ACCEPT, call.accept)
            .header(USER_AGENT, AGENT);
        if let Some(key) = &self.key {
            request = request.header(API_KEY_HEADER, key.clone());
        }
        if let Some(key) = call.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY_HEADER, key);
        }
        request
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        head: http::request::Builder,
        body: Body,
    ) -> Result<Response<Body>, TransportError> {
        let unsent = |e: http::Error| TransportError { sent: false, source: e.into() };
        let request = head.body(body).map_err(unsent)?;
        let answer = timeout(ANSWER_TIMEOUT + call.wait, self.transport.send(request)).await;
        answer.unwrap_or_else(|_| Err(TransportError { sent: true, source: "it does not answer".into() }))
    }

    /// One request and the document that answers it.
    async fn ask<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<Document<T>, CliError> {
        let response = self.send(call).await.map_err(|e| self.unreachable(e))?;
        self.document(call, response).await
    }

    async fn document<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        response: Response<Body>,
    ) -> Result<Document<T>, CliError> {
        self.parsed(call, response, |bytes| serde_json::from_slice(bytes)).await
    }

    async fn parsed<T>(
        &self,
        call: &Call<'_>,
        response: Response<Body>,
        parse: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<Document<T>, CliError> {
        let (head, body) = response.into_parts();
        let mut body = Limited::new(body, DOCUMENT_BYTES);
        let mut bytes = Vec::new();
        loop {
            let frame = timeout(IDLE_TIMEOUT, body.frame()).await;
            match frame.unwrap_or_else(|_| Some(Err("it stopped in the middle".into()))) {
                None => break,
                Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(e)) => return Err(failure::lost_body(&self.endpoint, e).request(request_id(&head))),
            }
        }
        if !head.status.is_success() {
            let refusal = failure::refusal(head.status, &bytes, &self.endpoint, call.path);
            return Err(self.with_key_hint(head.status, refusal).request(request_id(&head)));
        }
        let value = parse(&bytes)
            .map_err(|e| failure::no_runvoy(&self.endpoint).because(e).request(request_id(&head)))?;
        Ok(Document { value, bytes: bytes.into() })
    }

    /// A refusal that says how to come by a key, if that is what it wants.
    fn with_key_hint(&self, status: StatusCode, refusal: CliError) -> CliError {
        if status == StatusCode::UNAUTHORIZED { refusal.hint(self.key_hint) } else { refusal }
    }

    fn unreachable(&self, error: TransportError) -> CliError {
        failure::unreachable(&self.endpoint, error.source)
    }
}

fn to_json(value: &impl Serialize) -> Result<Bytes, CliError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| {
        CliError::new(crate::error::Kind::Usage, "the request cannot be written as JSON").because(e)
    })
}

fn request_id(head: &http::response::Parts) -> Option<String> {
    head.headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()).map(str::to_owned)
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
