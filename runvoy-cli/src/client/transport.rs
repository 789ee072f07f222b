//! How a request reaches the service: over the network, or inside this process.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A connection that takes longer is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of a request or an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Any error.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct TransportError {
    /// Whether the server may have seen it.
    pub(crate) sent: bool,
    /// Why.
    pub(crate) source: BoxError,
}

/// Carries requests to the service.
pub(crate) trait Transport: Send + Sync {
    /// Sends one request; answers as soon as the head of the answer is there.
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, TransportError>>;
}

/// Over the network.
pub(crate) enum HttpTransport {
    /// Without TLS, whose setting up costs a start its time.
    Plain(Client<HttpConnector, Body>),
    /// With TLS.
    Tls(Client<HttpsConnector<HttpConnector>, Body>),
}

impl HttpTransport {
    /// A transport for addresses of one scheme.
    pub(crate) fn new(https: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_mins(1)));
        let builder = || Client::builder(TokioExecutor::new());
        if https {
            connector.enforce_http(false);
            let tls = HttpsConnectorBuilder::new().with_webpki_roots().https_only().enable_http1();
            Self::Tls(builder().build(tls.wrap_connector(connector)))
        } else {
            Self::Plain(builder().build(connector))
        }
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, TransportError>> {
        let answer = match self {
            Self::Plain(client) => client.request(request),
            Self::Tls(client) => client.request(request),
        };
        Box::pin(async {
            let response =
                answer.await.map_err(|e| TransportError { sent: !e.is_connect(), source: e.into() })?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// Into a router of this process.
#[cfg(feature = "local")]
pub(crate) struct RouterTransport(pub(crate) axum::Router);

#[cfg(feature = "local")]
impl Transport for RouterTransport {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, TransportError>> {
        use tower::ServiceExt as _;
        let answer = self.0.clone().oneshot(request.map(axum::body::Body::new));
        Box::pin(async {
            let Ok(response) = answer.await;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}
