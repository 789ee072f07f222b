//! Where clients reach a server, and which pages may ask it.

use std::fmt;
use std::str::FromStr;

use crate::id::ParseIdError;

/// Where clients reach a server: `http[s]://HOST[:PORT][/PREFIX]`.
///
/// ```
/// use runvoy_core::origin::PublicUrl;
///
/// let url: PublicUrl = "https://Runvoy.Acme.test:443/tools/".parse().unwrap();
/// assert_eq!(url.to_string(), "https://runvoy.acme.test/tools");
/// assert_eq!(url.origin(), "https://runvoy.acme.test");
/// assert_eq!(url.websocket("/ws"), "wss://runvoy.acme.test/tools/ws");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    is_secure: bool,
    /// Lower case, without the port that the scheme has anyway.
    authority: String,
    /// Empty, or begins with a slash and ends with none.
    prefix: String,
}

impl PublicUrl {
    /// This machine, for who says nothing else.
    #[cfg(feature = "http")]
    pub(crate) fn local() -> Self {
        Self { is_secure: false, authority: "localhost".to_owned(), prefix: String::new() }
    }

    /// The scheme, host and port, as a browser names the origin of a page from there.
    pub fn origin(&self) -> String {
        format!("http{}://{}", self.s(), self.authority)
    }

    /// The address of a WebSocket below it; `path` begins with a slash.
    pub fn websocket(&self, path: &str) -> String {
        format!("ws{}://{}{}{path}", self.s(), self.authority, self.prefix)
    }

    fn s(&self) -> &'static str {
        if self.is_secure { "s" } else { "" }
    }
}

impl FromStr for PublicUrl {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong =
            ParseIdError("a public URL is `http://` or `https://`, a host, and perhaps a port and a path");
        let (scheme, rest) = text.split_once("://").ok_or(wrong.clone())?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let prefix = path.trim_end_matches('/');
        if !is_authority(authority)
            || prefix.bytes().any(|b| !b.is_ascii_graphic() || b"?#\\\"<>".contains(&b))
        {
            return Err(wrong);
        }
        let port = if is_secure { ":443" } else { ":80" };
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        Ok(Self { is_secure, authority, prefix: prefix.to_owned() })
    }
}

/// A host and perhaps a port, with nothing that could end it or stand before it.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.prefix)
    }
}

/// Pages of which origin may ask from a browser (the Fetch standard, section 3.3).
///
/// ```
/// use runvoy_core::origin::AllowedOrigin;
///
/// let allowed: AllowedOrigin = "http://localhost:5173/".parse().unwrap();
/// assert!(allowed.is("http://localhost:5173") && !allowed.is("http://127.0.0.1:5173"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Any, written `*`.
    Any,
    /// This one, without a slash at its end.
    One(String),
}

impl AllowedOrigin {
    /// Whether a page of this origin may ask.
    pub fn is(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => origin.trim_end_matches('/').eq_ignore_ascii_case(one),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let url: PublicUrl = text.parse().map_err(|_| wrong_origin())?;
        if url.prefix.is_empty() { Ok(Self::One(url.origin())) } else { Err(wrong_origin()) }
    }
}

fn wrong_origin() -> ParseIdError {
    ParseIdError("an origin is `http://` or `https://`, a host and perhaps a port, or `*` for any")
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => f.write_str(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_read_in_every_form_and_nothing_else_is_one() {
        let forms = [
            ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
            ("HTTP://Acme.test:80/", "http://acme.test"),
            ("https://[2001:db8::1]:8443/a/b//", "https://[2001:db8::1]:8443/a/b"),
            ("https://acme.test:80", "https://acme.test:80"),
        ];
        for (text, shown) in forms {
            assert_eq!(text.parse::<PublicUrl>().unwrap().to_string(), shown);
        }
        let wrong = [
            "",
            "acme.test",
            "ftp://acme.test",
            "http://",
            "http:///a",
            "http://a b",
            "http://a@b",
            "http://a?b",
            "http://a/?b",
            "http://a/#b",
            "http://a:x",
            "http://a:",
            "http://[::1",
            "http://a:99999",
            "http://ä.test",
            "http://a/b\r\nc",
        ];
        for text in wrong {
            assert!(text.parse::<PublicUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_the_same_with_a_slash_at_its_end_and_another_with_another_host() {
        let allowed: AllowedOrigin = "https://App.acme.test/".parse().unwrap();
        assert_eq!(allowed.to_string(), "https://app.acme.test");
        for same in ["https://app.acme.test", "https://app.acme.test/"] {
            assert!(allowed.is(same), "{same}");
        }
        for other in [
            "http://app.acme.test",
            "https://app.acme.test:8443",
            "https://app.acme.test.evil.test",
            "null",
            "",
        ] {
            assert!(!allowed.is(other), "{other}");
        }
        assert!("*".parse::<AllowedOrigin>().unwrap().is("null"));
        for wrong in ["", "app.acme.test", "https://app.acme.test/page", "null", "https://*.acme.test"] {
            assert!(wrong.parse::<AllowedOrigin>().is_err(), "{wrong}");
        }
    }
}
