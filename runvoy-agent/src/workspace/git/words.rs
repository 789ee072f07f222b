//! What went wrong on the way to a repository, in words with a remedy.

use std::io;

use ureq::http::StatusCode;

use super::super::fault::{Fault, is_full};
use super::http::is_refusal;
use super::wanted::Wanted;

/// What the HTTP side of a fetch ran into.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No answer.
    #[error("{0}")]
    Http(#[source] ureq::Error),
    /// An answer that is none, and what it said.
    #[error("HTTP status {0}")]
    Status(StatusCode, String),
    /// The server sends its clients to another server.
    #[error("redirected to {0}")]
    Elsewhere(String),
    /// It sends them around.
    #[error("too many redirects")]
    TooManyRedirects,
}

/// What is known about a fetch that failed.
pub(super) struct Context<'a> {
    pub(super) host: &'a str,
    pub(super) wanted: &'a Wanted,
    pub(super) has_token: bool,
}

impl Context<'_> {
    /// Explains an error of gix: its cause as a sentence, and its own words for the log.
    pub(super) fn explain(&self, error: &gix::Error) -> Fault {
        let own: Vec<String> = error.iter_errors().map(|error| format!("git: {error}")).collect();
        let trouble = causes(error).find_map(|cause| cause.downcast_ref::<Trouble>());
        if let Some(trouble) = trouble {
            return self.trouble(trouble).saying(own);
        }
        if is_of_full_disk(error) {
            return Fault::full().saying(own);
        }
        let text = own.join("\n");
        if text.contains("not our ref") || text.contains("no such remote ref") {
            return self.wanted.not_found(self.host).saying(own);
        }
        if text.contains("smart' protocol") {
            return Fault::new(format!(
                "{} answers, but not as a git server; check the repository's address",
                self.host
            ))
            .saying(own);
        }
        if has(error, io::ErrorKind::OutOfMemory) {
            return Fault::new(format!(
                "{} sends more than the checkout may have memory for; check the address, or upload the code instead",
                self.host
            ))
            .saying(own);
        }
        if has(error, io::ErrorKind::UnexpectedEof) {
            return Fault::new(format!(
                "{} broke off in the middle of its answer; try again, and see that no proxy on the way cuts it short",
                self.host
            ))
            .saying(own);
        }
        let (host, reason) = (self.host, error.probable_cause());
        Fault::new(format!(
            "the repository could not be fetched from {host}: {reason}; see the log, or try again"
        ))
        .saying(own)
    }

    fn trouble(&self, trouble: &Trouble) -> Fault {
        match trouble {
            Trouble::Status(status, said) => {
                Fault::new(self.status(*status)).saying(said.lines().map(|line| format!("remote: {line}")))
            }
            Trouble::Elsewhere(other) => Fault::new(format!(
                "{} sends its clients to another server{}{other}; use that address",
                self.host,
                if other.is_empty() { "" } else { ": " }
            )),
            Trouble::TooManyRedirects => {
                Fault::new(format!("{} sends its clients around in circles; check the address", self.host))
            }
            Trouble::Http(error) => Fault::new(self.no_answer(error)),
        }
    }

    fn status(&self, status: StatusCode) -> String {
        let host = self.host;
        match status {
            status if is_refusal(status) && self.has_token => format!(
                "{host} refuses the token ({}); check that it is valid and may read the repository",
                status.as_u16()
            ),
            status if is_refusal(status) => format!(
                "{host} wants a login ({}): the repository is private or does not exist; give a token secret",
                status.as_u16()
            ),
            StatusCode::NOT_FOUND if self.has_token => {
                format!("{host} has no such repository, or the token may not see it (404); check both")
            }
            StatusCode::NOT_FOUND => format!(
                "{host} has no such repository, or it is private (404); check the address, or give a token secret"
            ),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                "the proxy wants a login (407); an admin has to put it into HTTPS_PROXY on the server"
                    .to_owned()
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                format!(
                    "{host} cannot serve the repository at the moment ({}); try again later",
                    status.as_u16()
                )
            }
            status => format!("{host} answers with HTTP status {}; check the address", status.as_u16()),
        }
    }

    fn no_answer(&self, error: &ureq::Error) -> String {
        let host = self.host;
        let text = chain(error);
        match error {
            _ if matches!(error, ureq::Error::HostNotFound) || text.contains("failed to lookup address") => {
                format!(
                    "the host {host} is not known; check the address, and that the task may reach a name server"
                )
            }
            _ if text.contains("UnknownIssuer") => format!(
                "the certificate of {host} is from an unknown authority; an admin has to add it to RUNVOY_CA_BUNDLE \
                 on the server"
            ),
            _ if text.contains("certificate") => format!("the certificate of {host} is not valid: {text}"),
            ureq::Error::Timeout(_) => {
                format!("{host} did not answer in time; check that the task may reach it")
            }
            ureq::Error::ConnectProxyFailed(_) => {
                format!("the proxy would not connect to {host}: {text}; an admin has to look at HTTPS_PROXY")
            }
            _ => format!("{host} cannot be reached: {text}; check that the task may reach it"),
        }
    }
}

/// Whether there was no room for something.
pub(super) fn is_of_full_disk(error: &gix::Error) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_full))
}

/// Whether this is among the causes.
fn has(error: &gix::Error, kind: io::ErrorKind) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == kind))
}

/// Every error and all of its causes.
fn causes(error: &gix::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    error.iter_errors().flat_map(|error| std::iter::successors(Some(error), |error| deeper(*error)))
}

/// Also through what `io::Error` wraps without calling it a source.
fn deeper<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source())
}

fn chain(error: &ureq::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
