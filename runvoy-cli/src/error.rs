//! What went wrong, for people and for scripts.

use std::error::Error;
use std::fmt;

use crate::exit;

/// Sorts of failure; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The arguments are wrong.
    Usage,
    /// The server refused the request.
    Refused,
    /// There is no such thing.
    NotFound,
    /// The server cannot be reached, or failed.
    Unavailable,
    /// Try again later.
    TryLater,
    /// Not authenticated or not allowed.
    Denied,
    /// Not configured, or badly.
    Config,
    /// Runvoy could not run the command.
    NotRun,
    /// The user interrupted the client.
    Interrupted,
    /// The reader of our output went away; nobody is left to tell.
    PipeClosed,
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Usage => exit::USAGE,
            Self::Refused => exit::REFUSED,
            Self::NotFound => exit::NOT_FOUND,
            Self::Unavailable => exit::UNAVAILABLE,
            Self::TryLater => exit::TRY_LATER,
            Self::Denied => exit::DENIED,
            Self::Config => exit::CONFIG,
            Self::NotRun => exit::NOT_RUN,
            Self::Interrupted => exit::INTERRUPTED,
            Self::PipeClosed => exit::PIPE_CLOSED,
        }
    }
}

/// A failure: one sentence of what happened, and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) kind: Kind,
    what: String,
    hint: Option<String>,
    request_id: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CliError {
    /// A failure, in a few words without a full stop.
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, request_id: None, source: None }
    }

    /// Nothing to say: the output's reader is gone.
    pub(crate) fn pipe_closed() -> Self {
        Self::new(Kind::PipeClosed, "")
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, which `--debug` shows.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the id that the server knows the request by, which `--debug` shows.
    pub(crate) fn request(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// The chain of causes and the request id, one line each.
    pub(crate) fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut cause: Option<&(dyn Error + 'static)> = Error::source(self);
        while let Some(error) = cause {
            lines.push(format!("caused by: {error}"));
            cause = error.source();
        }
        lines.extend(self.request_id.iter().map(|id| format!("request id: {id}")));
        lines
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_and_debug_tells_the_rest() {
        let error = CliError::new(Kind::Unavailable, "the server cannot be reached")
            .hint("is it running?")
            .because(std::io::Error::other("refused"))
            .request(Some("abc".into()));
        assert_eq!(error.to_string(), "the server cannot be reached; is it running?");
        assert_eq!(error.details(), ["caused by: refused", "request id: abc"]);
        assert_eq!(error.kind.code(), 69);
    }
}
