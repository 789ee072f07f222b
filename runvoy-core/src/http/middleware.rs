use std::net::IpAddr;
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use tracing::Instrument as _;

use super::request_log;
use crate::RequestContext;
use crate::api::REQUEST_ID_HEADER;
use crate::id::RequestId;

/// Where a request comes from, as its server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Claim tokens travel in the path.
const CLAIM: &str = "/claim/";

/// A path as the log may show it.
fn shown(path: &str) -> String {
    match path.split_once(CLAIM) {
        Some((before, _)) => format!("{before}{CLAIM}…"),
        None => path.to_owned(),
    }
}

/// Gives every request an id and a span of the log, and logs a failure of ours once, where it is answered.
pub(super) async fn request(mut request: Request, next: Next) -> Response {
    let request_id = RequestId::random();
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    request.extensions_mut().insert(RequestContext { request_id, address });
    let span = request_log::span(request_id, request.method(), &shown(request.uri().path()));
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    request_log::answered(&span, &response, began.elapsed());
    if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_token_is_not_shown() {
        assert_eq!(shown("/api/v1/claim/secret"), "/api/v1/claim/…");
        assert_eq!(shown("/api/v1/users"), "/api/v1/users");
    }
}
