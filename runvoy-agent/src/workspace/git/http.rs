//! HTTP for gix, by ureq: one request at a time, redirects within the same server only.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gix::error::Result as GixResult;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use ureq::http::header::{CONTENT_TYPE, LOCATION};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, BodyReader};

use super::words::Trouble;

const MOST_REDIRECTS: usize = 5;
/// So much of an error page is read to see whether it has something to say.
const MOST_WORDS: u64 = 2048;

/// The HTTP side of a transport.
pub(super) struct Client {
    agent: Agent,
    /// Where the server says the repository is, if not where it was asked for.
    moved_to: Option<String>,
}

impl Client {
    pub(super) fn new(agent: Agent) -> Self {
        Self { agent, moved_to: None }
    }

    /// Asks, and follows the server to other places of its own.
    fn fetch(&mut self, url: &str, base: &str, headers: &[String]) -> Result<Response<Body>, Trouble> {
        let tail = url.strip_prefix(base).unwrap_or_default();
        let mut at = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let request = headers.iter().filter_map(|header| header.split_once(':'));
            let request = request
                .fold(self.agent.get(&at), |request, (name, value)| request.header(name, value.trim()));
            let response = request.call().map_err(Trouble::Http)?;
            if !response.status().is_redirection() {
                if at != url {
                    self.moved_to = at.strip_suffix(tail).map(str::to_owned);
                }
                return checked(response);
            }
            at = next(&at, tail, &response)?;
        }
        Err(Trouble::TooManyRedirects)
    }
}

/// Where a redirect leads, if it may be followed: to the same server (it gets the token) and the same document.
fn next(from: &str, tail: &str, response: &Response<Body>) -> Result<String, Trouble> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let origin = origin(from).unwrap_or_default();
    let to = if location.starts_with('/') && !location.starts_with("//") {
        format!("{origin}{location}")
    } else {
        location.to_owned()
    };
    match self::origin(&to) {
        Some(other) if other == origin && to.ends_with(tail) => Ok(to),
        other => Err(Trouble::Elsewhere(other.unwrap_or_default())),
    }
}

/// Scheme, host and port; `None` for what is no such URL.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let port = uri.port_u16().filter(|port| *port != if scheme == "https" { 443 } else { 80 });
    let host = uri.host()?.to_ascii_lowercase();
    Some(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

/// Turns an answer that is none into trouble, with what the server has to say.
fn checked(response: Response<Body>) -> Result<Response<Body>, Trouble> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let is_text =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let mut said = Vec::new();
    if is_text {
        let _ = response.into_body().into_reader().take(MOST_WORDS).read_to_end(&mut said);
    }
    Err(Trouble::Status(status, String::from_utf8_lossy(&said).into_owned()))
}

impl Http for Client {
    type Headers = Headers;
    type ResponseBody = Answer;
    type PostBody = Question;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> GixResult<GetResponse<Self::Headers, Self::ResponseBody>> {
        let headers: Vec<String> = headers.into_iter().map(|header| header.as_ref().to_owned()).collect();
        let response = self.fetch(url, base_url, &headers).map_err(gix::Error::from_error)?;
        let exchange = Arc::new(Mutex::new(Exchange::default()));
        exchange.lock().unwrap_or_else(PoisonError::into_inner).take(response);
        Ok(GetResponse { headers: Headers::of(&exchange), body: Answer::of(&exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> GixResult<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let headers = headers.into_iter().map(|header| header.as_ref().to_owned()).collect();
        let exchange = Exchange {
            unsent: Some(Unsent { agent: self.agent.clone(), url: url.to_owned(), headers }),
            ..Exchange::default()
        };
        let exchange = Arc::new(Mutex::new(exchange));
        Ok(PostResponse {
            post_body: Question(Arc::clone(&exchange)),
            headers: Headers::of(&exchange),
            body: Answer::of(&exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> GixResult {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved_to.clone()
    }
}

/// A request that goes out when its answer is first looked at: by then the question is whole.
#[derive(Default)]
struct Exchange {
    unsent: Option<Unsent>,
    question: Vec<u8>,
    headers: Option<Vec<u8>>,
    body: Option<BodyReader<'static>>,
}

struct Unsent {
    agent: Agent,
    url: String,
    headers: Vec<String>,
}

impl Exchange {
    fn send(&mut self) -> io::Result<()> {
        let Some(Unsent { agent, url, headers }) = self.unsent.take() else { return Ok(()) };
        let question = std::mem::take(&mut self.question);
        let request = headers.iter().filter_map(|header| header.split_once(':'));
        let request =
            request.fold(agent.post(&url), |request, (name, value)| request.header(name, value.trim()));
        let response = request.send(&question[..]).map_err(|error| io::Error::other(Trouble::Http(error)))?;
        let response = match response.status() {
            status if status.is_redirection() => Err(Trouble::Status(status, String::new())),
            _ => checked(response),
        };
        self.take(response.map_err(io::Error::other)?);
        Ok(())
    }

    fn take(&mut self, response: Response<Body>) {
        let mut headers = Vec::new();
        for (name, value) in response.headers() {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.push(b':');
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        self.headers = Some(headers);
        // A pack has any size; what it may take is bounded by time and disk.
        self.body = Some(response.into_body().into_with_config().limit(u64::MAX).reader());
    }
}

type Shared = Arc<Mutex<Exchange>>;

/// Collects the body of a request.
pub(super) struct Question(Shared);

impl Write for Question {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).question.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers of an answer, a line each.
pub(super) struct Headers {
    exchange: Shared,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn of(exchange: &Shared) -> Self {
        Self { exchange: Arc::clone(exchange), lines: None }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
            exchange.send()?;
            self.lines = Some(Cursor::new(exchange.headers.take().unwrap_or_default()));
        }
        Ok(self.lines.get_or_insert_default())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The body of an answer.
pub(super) struct Answer {
    exchange: Shared,
    body: Option<BufReader<Box<dyn Read + Send>>>,
}

impl Answer {
    fn of(exchange: &Shared) -> Self {
        Self { exchange: Arc::clone(exchange), body: None }
    }

    fn body(&mut self) -> io::Result<&mut BufReader<Box<dyn Read + Send>>> {
        if self.body.is_none() {
            let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
            exchange.send()?;
            let reader: Box<dyn Read + Send> = match exchange.body.take() {
                Some(body) => Box::new(body),
                None => Box::new(io::empty()),
            };
            self.body = Some(BufReader::with_capacity(64 * 1024, reader));
        }
        Ok(self.body.get_or_insert_with(|| BufReader::new(Box::new(io::empty()))))
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body()?.read(buffer)
    }
}

impl BufRead for Answer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.body()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(body) = &mut self.body {
            body.consume(amount);
        }
    }
}

/// For words about a status.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Git.Example.com:443/a"), Some("https://git.example.com".to_owned()));
        assert_eq!(origin("https://git.example.com:8443/a"), Some("https://git.example.com:8443".to_owned()));
        assert_ne!(origin("http://git.example.com/a"), origin("https://git.example.com/a"));
        assert_eq!(origin("file:///etc/passwd"), None);
    }
}
