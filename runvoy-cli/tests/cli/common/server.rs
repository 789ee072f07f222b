//! A server that answers what a test tells it to, in order, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What one request is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    /// Pieces, and the pause before each.
    pieces: Vec<(Duration, Vec<u8>)>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    /// The connection breaks.
    Cut,
    /// Nothing more comes, for ever.
    Hangs,
}

impl Answer {
    /// A JSON document.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with(status, "application/json", body)
    }

    /// An error in the API's shape.
    pub(crate) fn error(status: u16, error: &str, details: &str) -> Self {
        Self::json(status, &format!(r#"{{"error":"{error}","code":"CODE","details":"{details}"}}"#))
    }

    /// A stream of events.
    pub(crate) fn events(text: &str) -> Self {
        Self::with(200, "text/event-stream", text)
    }

    /// Anything.
    pub(crate) fn with(status: u16, content_type: &'static str, body: &str) -> Self {
        let pieces = vec![(Duration::ZERO, body.as_bytes().to_vec())];
        Self { status, content_type, pieces, ending: Ending::Whole }
    }

    /// Says more after a pause.
    pub(crate) fn then(mut self, pause: Duration, more: &str) -> Self {
        self.pieces.push((pause, more.as_bytes().to_vec()));
        self
    }

    /// Breaks the connection afterwards.
    pub(crate) fn cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// Says nothing more, and does not end.
    pub(crate) fn hangs(mut self) -> Self {
        self.ending = Ending::Hangs;
        self
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    /// The key it carried.
    pub(crate) key: Option<String>,
    /// Its idempotency key.
    pub(crate) idempotency_key: Option<String>,
    /// Its body.
    pub(crate) body: String,
}

/// The server; ends with its value.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) endpoint: String,
    script: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Answers in this order; afterwards 500.
    pub(crate) fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, Arc::clone(&script), Arc::clone(&asked)));
        Self { endpoint, script, asked, _runtime: runtime }
    }

    /// What came, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of what came.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Waits until so many requests came.
    pub(crate) fn wait_for(&self, requests: usize) {
        for _ in 0..2000 {
            if self.asked.lock().unwrap().len() >= requests {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("only these came: {:?}", self.lines());
    }

    /// Answers that nobody asked for.
    pub(crate) fn left(&self) -> usize {
        self.script.lock().unwrap().len()
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<VecDeque<Answer>>>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        let service = service_fn(move |request: Request<Incoming>| {
            let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let header =
                    |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                asked.lock().unwrap().push(Asked {
                    line: format!("{} {}", head.method, head.uri),
                    key: header("x-api-key"),
                    idempotency_key: header("idempotency-key"),
                    body: String::from_utf8_lossy(&body).into_owned(),
                });
                let next = script.lock().unwrap().pop_front();
                Ok::<_, Infallible>(answer(next.unwrap_or_else(|| Answer::error(500, "unexpected", ""))))
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
        );
    }
}

type BodyOfPieces = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

fn answer(answer: Answer) -> Response<BodyOfPieces> {
    let ending = answer.ending;
    let pieces = stream::unfold(answer.pieces.into_iter(), move |mut pieces| async move {
        if let Some((pause, piece)) = pieces.next() {
            tokio::time::sleep(pause).await;
            return Some((Ok(Frame::data(Bytes::from(piece))), pieces));
        }
        match ending {
            Ending::Whole => None,
            Ending::Cut => {
                // What was said has to leave before the connection breaks.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(std::io::Error::other("cut")), pieces))
            }
            Ending::Hangs => std::future::pending().await,
        }
    });
    Response::builder()
        .status(answer.status)
        .header("content-type", answer.content_type)
        .header("x-request-id", "0000000000000000000000000000abcd")
        .body(StreamBody::new(pieces).boxed_unsync())
        .unwrap()
}
