//! From what went wrong on the way to a sentence.

use std::error::Error;
use std::fmt;
use std::io;

use http::StatusCode;
use runvoy_core::api::{ErrorBody, code};

use super::transport::BoxError;
use crate::error::{CliError, Kind};
use crate::settings::Endpoint;

/// Longest text of a server that is shown.
const SHOWN_CHARS: usize = 500;

/// No answer came.
pub(crate) fn unreachable(endpoint: &Endpoint, source: BoxError) -> CliError {
    let what = format!("the server at {endpoint} cannot be reached: {}", root_cause(source.as_ref()));
    CliError::new(Kind::Unavailable, what).hint("is it running, and is the address right?").because(source)
}

/// An answer broke off.
pub(crate) fn lost_body(endpoint: &Endpoint, source: BoxError) -> CliError {
    let what = format!("the answer of the server at {endpoint} broke off");
    CliError::new(Kind::Unavailable, what).hint("try again").because(LostBody(source))
}

/// What answers is something else.
pub(crate) fn no_runvoy(endpoint: &Endpoint) -> CliError {
    let what = format!("what answers at {endpoint} does not speak Runvoy's API");
    CliError::new(Kind::Unavailable, what).hint("check the address with `runvoy health`")
}

/// The server said no.
pub(crate) fn refusal(status: StatusCode, body: &[u8], endpoint: &Endpoint) -> CliError {
    let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else {
        let kind = kind_of(status);
        let kind = if kind == Kind::Refused { Kind::Unavailable } else { kind };
        return CliError::new(kind, format!("the server at {endpoint} answered {status}"))
            .hint("is it a Runvoy server?");
    };
    let said = match body.details.as_deref().filter(|details| !details.is_empty()) {
        Some(details) => shown(&format!("{}: {details}", body.error)),
        None => shown(&body.error),
    };
    if body.code.as_deref() == Some(code::LOCK_HELD) {
        return CliError::new(Kind::TryLater, shown(&body.details.unwrap_or(body.error)));
    }
    let kind = kind_of(status);
    match kind {
        Kind::Denied if status == StatusCode::UNAUTHORIZED => {
            CliError::new(kind, format!("the server does not accept the API key ({said})"))
                .hint("run `runvoy configure`, or set RUNVOY_API_KEY")
        }
        Kind::Denied => CliError::new(kind, format!("you are not allowed to do this ({said})"))
            .hint("ask an admin; `runvoy whoami` shows your role, `runvoy can-i` what it allows"),
        Kind::NotFound => CliError::new(kind, format!("there is no such thing ({said})"))
            .hint("`runvoy list` shows what there is"),
        Kind::TryLater => {
            CliError::new(kind, format!("the server wants no more for now ({said})")).hint("try again later")
        }
        Kind::Unavailable => CliError::new(kind, format!("the server failed ({}: {said})", status.as_u16()))
            .hint("try again, or look into its log"),
        _ => CliError::new(kind, format!("the server refused the request ({said})")),
    }
}

fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        429 => Kind::TryLater,
        400..=499 => Kind::Refused,
        _ => Kind::Unavailable,
    }
}

/// Whether the same request may well succeed a moment later.
pub(crate) fn is_passing_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// Whether somebody who waits goes on waiting.
pub(crate) fn is_passing(error: &CliError) -> bool {
    matches!(error.kind, Kind::Unavailable | Kind::TryLater)
}

/// Whether the head of an answer came and its body did not.
pub(crate) fn is_lost_body(error: &CliError) -> bool {
    Error::source(error).is_some_and(<dyn Error>::is::<LostBody>)
}

#[derive(Debug)]
struct LostBody(BoxError);

impl fmt::Display for LostBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for LostBody {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The system's own words, if it has any, else the innermost.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(next) = at.source() {
        at = next;
    }
    let system = at.downcast_ref::<io::Error>().filter(|e| e.raw_os_error().is_some());
    match system.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(kind) => kind.to_string(),
        None => shown(&at.to_string()),
    }
}

/// A server's words on one line, of bounded length, without anything that drives a terminal.
fn shown(text: &str) -> String {
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = clean.take(SHOWN_CHARS + 1).collect();
    if out.chars().count() > SHOWN_CHARS {
        out.pop();
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_map_to_kinds() {
        let endpoint = Endpoint::in_process();
        let body = br#"{"error":"wrong","details":"really\u001b[2J\nso"}"#;
        let cases = [
            (400, 65),
            (401, 77),
            (403, 77),
            (404, 66),
            (409, 65),
            (413, 65),
            (429, 75),
            (500, 69),
            (503, 69),
        ];
        for (status, code) in cases {
            let error = refusal(StatusCode::from_u16(status).unwrap(), body, &endpoint);
            assert_eq!(error.kind.code(), code, "{status}");
            let text = error.to_string();
            assert!(text.contains("wrong: really [2J so") && !text.contains('\u{1b}'), "{text}");
        }
        let error = refusal(StatusCode::BAD_REQUEST, b"<html>", &endpoint);
        assert_eq!(error.kind.code(), 69, "{error}");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shown(&"é".repeat(600)).chars().count(), 501);
    }
}
