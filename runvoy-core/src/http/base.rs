//! Where whoever sent a request reaches this server, and whether a page of theirs may.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::{ApiError, PeerAddress};
use crate::api::{BASE_PATH, SOCKET_PATH, WebsocketUrl};
use crate::id::ExecutionId;
use crate::origin::PublicUrl;
use crate::{Caller, Config, Runvoy};

/// What trusted proxies say of the request that came to them.
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
const HEADERS: HeaderValue =
    HeaderValue::from_static("Content-Type, X-API-Key, Idempotency-Key, Last-Event-ID");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Request-Id, Retry-After");
/// Seconds that a browser remembers all this.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The address below which the sender of a request reaches this server.
pub(super) struct Base(PublicUrl);

impl Base {
    /// Where the log of an execution is followed, by whoever has the address.
    pub(super) fn websocket_url(&self, runvoy: &Runvoy, caller: &Caller, id: ExecutionId) -> WebsocketUrl {
        let token = runvoy.stream_token(caller, id);
        let path = format!("{BASE_PATH}{SOCKET_PATH}?execution_id={id}&token={}", token.reveal());
        WebsocketUrl::new(self.0.websocket(&path))
    }
}

impl FromRequestParts<Runvoy> for Base {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runvoy: &Runvoy) -> Result<Self, ApiError> {
        Ok(Self(base(runvoy.config(), &parts.extensions, &parts.uri, &parts.headers)))
    }
}

/// What was configured, else what the request itself says; a proxy is believed only if it is trusted. To be wrong here
/// misleads nobody but the sender.
fn base(config: &Config, extensions: &Extensions, uri: &Uri, headers: &HeaderMap) -> PublicUrl {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let peer = extensions.get::<PeerAddress>().map(|peer| peer.0);
    let trusts = |peer: IpAddr| config.trusted_proxies.iter().any(|range| range.contains(peer));
    let said = |name| peer.filter(|peer| trusts(*peer)).and_then(|_| last(headers, name));
    let scheme = said(FORWARDED_PROTO).unwrap_or("http");
    let prefix = said(FORWARDED_PREFIX).unwrap_or_default();
    let host = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority =
        said(FORWARDED_HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str)).or_else(host);
    let written = |authority: &str| format!("{scheme}://{authority}{prefix}").parse().ok();
    authority.and_then(written).unwrap_or_else(PublicUrl::local)
}

/// The last value of a header that every proxy on the way adds to.
fn last<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
}

/// What a browser is told of who may ask (the Fetch standard, section 3.3).
pub(super) struct Cors {
    /// The page's origin, if it may.
    allowed: Option<HeaderValue>,
}

impl Cors {
    /// What to tell about a request: the server's own pages may ask, and those that were allowed.
    pub(super) fn of(config: &Config, request: &axum::extract::Request) -> Self {
        let (headers, uri) = (request.headers(), request.uri());
        let may = |value: &&HeaderValue| {
            value.to_str().is_ok_and(|origin| {
                config.allowed_origins.iter().any(|allowed| allowed.is(origin))
                    || base(config, request.extensions(), uri, headers).origin()
                        == origin.trim_end_matches('/')
            })
        };
        Self { allowed: headers.get(header::ORIGIN).filter(may).cloned() }
    }

    /// Tells it.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let told: [(HeaderName, HeaderValue); 4] = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        headers.extend(told);
        if let Some(origin) = self.allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let config = Config { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() };
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddress(peer.parse().unwrap()));
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        base(&config, &extensions, &Uri::from_static("/api/v1/run"), &headers.collect()).to_string()
    }

    #[test]
    fn a_request_says_where_the_server_is_and_proxies_only_if_they_are_trusted() {
        let forwarded = [
            ("host", "10.0.0.2:8420"),
            ("x-forwarded-host", "runvoy.acme.test"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/tools"),
        ];
        assert_eq!(of("10.0.0.1", &forwarded), "https://runvoy.acme.test/tools");
        assert_eq!(of("192.0.2.1", &forwarded), "http://10.0.0.2:8420", "anybody can write a header");
        assert_eq!(
            of("10.0.0.1", &[("host", "a.test"), ("x-forwarded-proto", "http, https")]),
            "https://a.test"
        );
        assert_eq!(
            of("10.0.0.1", &[("host", "a.test"), ("x-forwarded-proto", "javascript")]),
            "http://localhost"
        );
        assert_eq!(of("192.0.2.1", &[]), "http://localhost", "a host is all that is missing");
        assert_eq!(of("192.0.2.1", &[("host", "user@evil.test")]), "http://localhost");
    }
}
