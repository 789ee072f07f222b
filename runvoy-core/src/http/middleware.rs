use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use super::error::Failure;
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

/// Gives every request an id, and logs a failure of ours once, where it is answered.
pub(super) async fn request(mut request: Request, next: Next) -> Response {
    let request_id = RequestId::random();
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    request.extensions_mut().insert(RequestContext { request_id, address });
    let asked = (request.method().clone(), shown(request.uri().path()));
    let mut response = next.run(request).await;
    if let Some(Failure(chain)) = response.extensions().get::<Failure>() {
        let (method, path) = asked;
        tracing::error!(request.id = %request_id, %method, path, status = response.status().as_u16(), "{chain}");
    }
    if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    response
}
