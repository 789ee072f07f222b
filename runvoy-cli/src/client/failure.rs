//! From what went wrong on the way to a sentence.

use std::error::Error;
use std::fmt;
use std::io;

use http::StatusCode;
use runvoy_core::api::{ErrorBody, code};

use super::transport::BoxError;
use crate::error::{CliError, Kind};
use crate::settings::{Endpoint, Settings};

/// What to do about a key that a server does not accept.
pub(crate) const ANOTHER_KEY: &str = "run `runvoy configure`, or set RUNVOY_API_KEY";

/// Longest text of a server that is shown.
const SHOWN_CHARS: usize = 500;

/// The server's names for sorts of errors, which our own words tell.
const REPEAT_THE_STATUS: [&str; 6] =
    ["Forbidden", "Unauthorized", "conflict", "invalid request", "lock held", "not found"];

/// How to come by a key that a server accepts.
pub(crate) fn key_hint(settings: &Settings) -> &'static str {
    match (&settings.key, settings.is_of_environment) {
        (Some(_), _) => ANOTHER_KEY,
        (None, true) => {
            "set RUNVOY_API_KEY: a key of the configuration file is never sent to an endpoint from the environment"
        }
        (None, false) => {
            "fetch one by `runvoy claim TOKEN` with the claim token that an admin gives you, or run `runvoy configure`, \
             or set RUNVOY_API_KEY"
        }
    }
}

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

/// The server said no to what was asked of `path`.
pub(crate) fn refusal(status: StatusCode, body: &[u8], endpoint: &Endpoint, path: &str) -> CliError {
    let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else {
        let kind = kind_of(status);
        let kind = if matches!(kind, Kind::Refused | Kind::NotFound) { Kind::Unavailable } else { kind };
        return CliError::new(kind, format!("the server at {endpoint} answered {status}"))
            .hint("is it a Runvoy server?");
    };
    let is_no_route = body.details.as_deref().is_some_and(|details| details.starts_with("there is no route"));
    if status == StatusCode::NOT_FOUND && is_no_route {
        let what = format!("the server at {endpoint} has no such route ({})", said(&body));
        let hint = "is the address right, and the server not older than this client? `runvoy health` shows its version";
        return CliError::new(Kind::Unavailable, what).hint(hint);
    }
    let said = said(&body);
    let kind = kind_of(status);
    match kind {
        // Who holds it and what to do are in the server's words.
        _ if body.code.as_deref() == Some(code::LOCK_HELD) => CliError::new(Kind::TryLater, said),
        Kind::Denied if status == StatusCode::UNAUTHORIZED => {
            CliError::new(kind, format!("the server does not accept the API key ({said})"))
        }
        Kind::Denied => CliError::new(kind, format!("you are not allowed to do this ({said})"))
            .hint("ask an admin; `runvoy whoami` shows your role, `runvoy can-i` what it allows"),
        Kind::NotFound => {
            let is_sentence = said.ends_with(" not found");
            let what = if is_sentence { said } else { format!("there is no such thing ({said})") };
            CliError::new(kind, what).hint(what_there_is(path))
        }
        Kind::TryLater => {
            CliError::new(kind, format!("the server wants no more for now ({said})")).hint("try again later")
        }
        Kind::Unavailable => CliError::new(kind, format!("the server failed ({}: {said})", status.as_u16()))
            .hint("try again, or look into its log"),
        _ => {
            let error = CliError::new(kind, format!("the server refused the request ({said})"));
            match way_out(&body, path) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
    }
}

/// The server's words; those that only repeat the status are left out.
fn said(body: &ErrorBody) -> String {
    let details = body.details.as_deref().filter(|details| !details.is_empty());
    match details {
        Some(details) if REPEAT_THE_STATUS.contains(&body.error.as_str()) => shown(details),
        Some(details) => shown(&format!("{}: {details}", body.error)),
        None => shown(&body.error),
    }
}

/// Where the path's first segment leads to a list of what there is.
fn what_there_is(path: &str) -> &'static str {
    match path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default() {
        "executions" => "`runvoy list` shows what there is",
        "images" => "`runvoy images list` shows what there is",
        "users" => "`runvoy users list` shows who there is",
        "secrets" => "`runvoy secrets list` shows those that you may read",
        "locks" => "`runvoy locks list` shows those that are held",
        "claim" => "ask an admin for another claim token",
        "trace" => "is the id right, or is it long ago?",
        _ => "is the server older than this client? `runvoy health` shows its version",
    }
}

/// What to do about a conflict whose words do not say it.
fn way_out(body: &ErrorBody, path: &str) -> Option<&'static str> {
    match (body.code.as_deref()?, path) {
        (code::IDEMPOTENCY_CONFLICT, _) => Some("pass another --idempotency-key, or none"),
        (code::CONFLICT, "/users/create") => {
            Some("`runvoy users rotate EMAIL` gives them a new key; who was revoked needs another address")
        }
        _ => None,
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

/// The server said no to a question whose answers have no words.
pub(crate) fn of_head(status: StatusCode, endpoint: &Endpoint, action: &str) -> CliError {
    let kind = kind_of(status);
    match status.as_u16() {
        401 => CliError::new(kind, "the server does not accept the API key"),
        403 => CliError::new(kind, format!("you are not allowed to {action}"))
            .hint("ask an admin; `runvoy whoami` shows your role, `runvoy can-i` what it allows"),
        429 => CliError::new(kind, "the server wants no more for now").hint("try again later"),
        _ => CliError::new(Kind::Unavailable, format!("the server at {endpoint} answered {status}"))
            .hint("try again, or look into its log"),
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
            let error = refusal(StatusCode::from_u16(status).unwrap(), body, &endpoint, "/me");
            assert_eq!(error.kind.code(), code, "{status}");
            let text = error.to_string();
            assert!(text.contains("wrong: really [2J so") && !text.contains('\u{1b}'), "{text}");
        }
        let error = refusal(StatusCode::BAD_REQUEST, b"<html>", &endpoint, "/me");
        assert_eq!(error.kind.code(), 69, "{error}");
    }

    #[test]
    fn what_is_missing_is_looked_for_where_it_would_be() {
        let cases = [
            ("/executions/abcdef", "`runvoy list`"),
            ("/executions?limit=1", "`runvoy list`"),
            ("/users/revoke", "`runvoy users list`"),
            ("/locks/infra%2Fprod", "`runvoy locks list`"),
            ("/images/tool%3A1", "`runvoy images list`"),
            ("/claim/x", "another claim token"),
            ("/novelty", "`runvoy health`"),
        ];
        let body = br#"{"error":"not found","code":"NOT_FOUND","details":"user a@b"}"#;
        for (path, hint) in cases {
            let text = refusal(StatusCode::NOT_FOUND, body, &Endpoint::in_process(), path).to_string();
            assert!(text.starts_with("there is no such thing (user a@b); ") && text.contains(hint), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_told_in_one_sentence() {
        let body = br#"{"error":"not found","code":"NOT_FOUND","details":"secret `nosuch` not found"}"#;
        let text =
            refusal(StatusCode::NOT_FOUND, body, &Endpoint::in_process(), "/secrets/nosuch").to_string();
        assert_eq!(text, "secret `nosuch` not found; `runvoy secrets list` shows those that you may read");
    }

    #[test]
    fn an_address_with_too_long_a_path_is_told_as_such() {
        let body = br#"{"error":"not found","code":"NOT_FOUND","details":"there is no route /foo/api/v1/executions"}"#;
        let error = refusal(StatusCode::NOT_FOUND, body, &Endpoint::in_process(), "/executions");
        assert_eq!(error.kind.code(), 69);
        assert!(error.to_string().contains("is the address right"), "{error}");
        let error = refusal(StatusCode::NOT_FOUND, b"<html>", &Endpoint::in_process(), "/executions");
        assert_eq!(error.kind.code(), 69);
    }

    #[test]
    fn a_conflict_says_what_to_do() {
        let conflict = |code: &str, path: &str| {
            let body = format!(r#"{{"error":"conflict","code":"{code}","details":"no"}}"#);
            refusal(StatusCode::CONFLICT, body.as_bytes(), &Endpoint::in_process(), path).to_string()
        };
        assert!(conflict("CONFLICT", "/users/create").contains("`runvoy users rotate EMAIL`"));
        assert!(conflict("IDEMPOTENCY_CONFLICT", "/run").contains("--idempotency-key"));
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shown(&"é".repeat(600)).chars().count(), 501);
    }
}
