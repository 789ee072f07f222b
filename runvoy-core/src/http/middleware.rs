use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tracing::Instrument as _;

use super::base::Cors;
use super::{ApiError, request_log};
use crate::address::AddressRange;
use crate::api::REQUEST_ID_HEADER;
use crate::id::RequestId;
use crate::{RequestContext, Runvoy};

/// What proxies append the sender's address to.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a request comes from, as its server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Who sent a request: the last address of the way that no trusted proxy has. Only a trusted one is believed about who
/// came to it; `None` where what it says is no address, which is not its own then.
fn sender(peer: IpAddr, headers: &HeaderMap, trusted: &[AddressRange]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut sender = peer;
    let values = headers.get_all(FORWARDED_FOR).iter().rev().map(|value| value.to_str().unwrap_or("?"));
    let way = values.flat_map(|value| value.rsplit(',')).map(str::trim).filter(|entry| !entry.is_empty());
    for before in way {
        if !is_trusted(sender) {
            break;
        }
        sender = address(before)?;
    }
    Some(sender)
}

/// An address as proxies write it: bare, in brackets, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok();
    text.parse()
        .ok()
        .or_else(|| with_port().map(|socket| socket.ip()))
        .or_else(|| bracketed().map(Into::into))
}

/// Claim tokens travel in the path.
const CLAIM: &str = "/claim/";

/// A path as the log may show it.
fn shown(path: &str) -> String {
    match path.split_once(CLAIM) {
        Some((before, _)) => format!("{before}{CLAIM}…"),
        None => path.to_owned(),
    }
}

/// A method that no route takes.
const UNROUTED: Method = Method::TRACE;

/// Where HEAD is a route.
const UPLOADS: &str = "/api/v1/code/";

/// A handler of GET would be asked for HEAD too, and do all of its work (fetch a key, wait, record a reveal) for an answer
/// without a body. Only uploads have a HEAD of their own, and `Allow` says so.
///
/// A layer is asked only once a route and a method are found: these two stand around the router.
pub(super) fn without_head(mut request: Request) -> Request {
    if request.method() == Method::HEAD && !request.uri().path().starts_with(UPLOADS) {
        *request.method_mut() = UNROUTED;
        request.extensions_mut().insert(AskedWith(Method::HEAD));
    }
    request
}

/// The method of a request, where it was replaced by another.
#[derive(Clone)]
struct AskedWith(Method);

/// The method that a request came with.
fn asked_with(request: &Request) -> &Method {
    request.extensions().get::<AskedWith>().map_or(request.method(), |AskedWith(method)| method)
}

pub(super) fn allow_without_head(mut response: Response) -> Response {
    let allowed = response.headers().get(header::ALLOW).and_then(|allowed| allowed.to_str().ok());
    // That of a route without a GET is its own.
    let kept = allowed
        .filter(|allowed| allowed.split(',').any(|method| method == "GET"))
        .map(|allowed| allowed.split(',').filter(|method| *method != "HEAD").collect::<Vec<_>>().join(", "));
    if let Some(kept) = kept.and_then(|kept| HeaderValue::from_str(&kept).ok()) {
        response.headers_mut().insert(header::ALLOW, kept);
    }
    response
}

/// Gives every request an id and a span of the log, and logs a failure of ours once, where it is answered. No answer is to be
/// kept on the way: many hold a value, a token or what others may not see, and caches do not know `X-API-Key`.
pub(super) async fn request(State(runvoy): State<Runvoy>, mut request: Request, next: Next) -> Response {
    let request_id = RequestId::random();
    let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    let address = peer.and_then(|peer| sender(peer, request.headers(), &runvoy.config().trusted_proxies));
    let context = RequestContext { request_id, address };
    request.extensions_mut().insert(context);
    let span = request_log::span(request_id, asked_with(&request), &shown(request.uri().path()));
    let began = Instant::now();
    let cors = Cors::of(runvoy.config(), &request);
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        // Who may ask is all there is to know, and needs no key.
        StatusCode::OK.into_response()
    } else {
        match runvoy.let_in(&context) {
            Ok(()) => next.run(request).instrument(span.clone()).await,
            Err(error) => ApiError::from(error).into_response(),
        }
    };
    cors.tell(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
    fn an_address_of_a_header_counts_only_from_a_trusted_proxy() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, way: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in way {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            }
            sender(peer.parse().unwrap(), &headers, &trusted).map_or("none".to_owned(), |it| it.to_string())
        };
        assert_eq!(of("192.0.2.9", &["192.0.2.1"]), "192.0.2.9", "anybody can write a header");
        assert_eq!(of("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["198.51.100.7, 192.0.2.1"]), "192.0.2.1", "what the sender wrote itself");
        assert_eq!(of("10.0.0.1", &["198.51.100.7, 192.0.2.1, 10.0.0.2"]), "192.0.2.1", "two proxies");
        assert_eq!(of("10.0.0.1", &["198.51.100.7", "192.0.2.1"]), "192.0.2.1", "two headers");
        for none in [&[][..], &[""], &[" , "]] {
            assert_eq!(of("10.0.0.1", none), "10.0.0.1", "the proxy itself asks");
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_is_read_in_every_form_and_never_taken_for_the_proxy() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, way: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(way.as_bytes()).unwrap());
            sender(peer.parse().unwrap(), &headers, &trusted).map(|it| it.to_string())
        };
        let forms = [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("198.51.100.7, 192.0.2.1:4711, 10.0.0.2:80", "192.0.2.1"),
            ("nonsense, 192.0.2.1", "192.0.2.1"),
        ];
        for (way, expected) in forms {
            assert_eq!(of("10.0.0.1", way).as_deref(), Some(expected), "{way}");
        }
        for nothing in
            ["unknown", "_hidden", "192.0.2.1:", "192.0.2.1:http", "[192.0.2.1]", "é", "192.0.2.1, x"]
        {
            assert_eq!(of("10.0.0.1", nothing), None, "{nothing}");
            assert_eq!(of("192.0.2.9", nothing).as_deref(), Some("192.0.2.9"), "{nothing}, not believed");
        }
    }

    #[test]
    fn a_request_for_a_head_is_routed_nowhere_and_still_known_as_one() {
        let request = without_head(Request::head("/").body(axum::body::Body::empty()).unwrap());
        assert_eq!((request.method(), asked_with(&request)), (&UNROUTED, &Method::HEAD));
        let request = without_head(Request::get("/").body(axum::body::Body::empty()).unwrap());
        assert_eq!((request.method(), asked_with(&request)), (&Method::GET, &Method::GET));
    }

    #[test]
    fn a_claim_token_is_not_shown() {
        assert_eq!(shown("/api/v1/claim/secret"), "/api/v1/claim/…");
        assert_eq!(shown("/api/v1/users"), "/api/v1/users");
    }
}
