use std::fmt;
use std::time::Duration;

use crate::id::{LockName, ParseIdError, SecretName};
use crate::locks::Holder;
use crate::port::{
    Action, AuthorizerError, BoxError, ExecutorError, LiveScope, LogError, PolicyId, StoreError,
};

/// What can go wrong in the service, in words that a caller can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller is nobody we know.
    #[error("not authenticated: {0}")]
    Unauthenticated(Unauthenticated),
    /// No policy allows it, or one forbids it.
    #[error("not allowed: `{action}` on `{resource}`{}", policy.as_ref().map(|p| format!(", by policy `{p}`")).unwrap_or_default())]
    Denied {
        /// What was asked for.
        action: Action,
        /// On what.
        resource: String,
        /// The policy that forbids it; `None` where none allows it.
        policy: Option<PolicyId>,
        /// Whether the role may do this at all, and only what the request asks for is refused.
        by_content: bool,
    },
    /// A part of the request is not as it must be.
    #[error("{field}: {message}")]
    Invalid {
        /// Which part.
        field: &'static str,
        /// What is wrong with it: the limit, the value's size.
        message: String,
    },
    /// There is no such thing.
    #[error("{what} not found")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// It is there already, or was used, or must stay as it is.
    #[error("{message}")]
    Conflict {
        /// What is in the way, and what to do about it.
        message: String,
    },
    /// There is no such secret, or none that the caller may know of.
    #[error("secret `{name}` not found")]
    SecretNotFound {
        /// The name.
        name: SecretName,
    },
    /// A secret has that name already.
    #[error("a secret `{name}` exists already; `runvoy secrets update {name}` changes it")]
    SecretExists {
        /// The name.
        name: SecretName,
    },
    /// The idempotency key stands for another request.
    #[error("the idempotency key was used with a different request")]
    IdempotencyConflict,
    /// The lock is held, and the run was not to wait.
    #[error("the lock `{name}` is held{}", holder.as_ref().map(|h| format!(" by {} since {} (execution {})", h.user, h.since.strftime("%Y-%m-%d %H:%M:%SZ"), h.execution)).unwrap_or_default())]
    LockHeld {
        /// The lock.
        name: LockName,
        /// Who holds it.
        holder: Option<Box<Holder>>,
    },
    /// As many wait for the lock as may.
    #[error("{depth} executions wait for the lock `{name}`, which is the limit")]
    QueueFull {
        /// The lock.
        name: LockName,
        /// How many may wait.
        depth: usize,
    },
    /// As many executions are live as may be.
    #[error("{limit} executions {}, which is the limit", match scope { LiveScope::Server => "are live on this server", LiveScope::User => "of yours are live" })]
    TooManyLive {
        /// Whose limit.
        scope: LiveScope,
        /// Which limit.
        limit: u64,
    },
    /// More requests came from there than are let in.
    #[error("too many requests; try again in {} s", retry_after.as_secs() + 1)]
    TooManyRequests {
        /// When one more is let in.
        retry_after: Duration,
    },
    /// New work is refused for now, by the server's own decision.
    #[error("{message}")]
    Busy {
        /// Why, and what to do about it.
        message: String,
    },
    /// Something that the service needs does not answer.
    #[error("{what} is not available")]
    Unavailable {
        /// What does not answer.
        what: &'static str,
        /// Its own reason.
        source: BoxError,
    },
    /// Something is wrong that no caller can help.
    #[error("{what}")]
    Internal {
        /// What.
        what: &'static str,
        /// The cause.
        source: BoxError,
    },
}

/// Why a caller is nobody we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// No key was sent.
    #[error("API key is required")]
    Missing,
    /// The key is unknown, or is none.
    #[error("the API key is unknown")]
    Unknown,
    /// The key's user was revoked.
    #[error("the API key was revoked")]
    Revoked,
    /// The key's time is over.
    #[error("the API key has expired")]
    Expired,
    /// No stream token was sent.
    #[error("a stream token is required")]
    NoToken,
    /// The stream token is none of ours, or its time is over.
    #[error("the stream token is unknown or has expired; ask for another")]
    BadToken,
}

/// Why something is refused, by the policy that forbids it or for want of one that allows it.
pub(crate) fn denial(policy: Option<&PolicyId>, action: Action, resource: &dyn fmt::Display) -> String {
    match policy {
        Some(policy) => format!("policy `{policy}` forbids `{action}` on `{resource}`"),
        None => format!("no policy allows `{action}` on `{resource}`"),
    }
}

impl Error {
    /// A part of the request that is not as it must be.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    /// A new run at the wrong time.
    pub(crate) fn shutting_down() -> Self {
        Self::Busy { message: "the server is shutting down; try again in a moment".to_owned() }
    }

    /// An execution that is not there.
    pub(crate) fn no_execution(id: impl fmt::Display) -> Self {
        Self::NotFound { what: format!("execution {id}") }
    }

    /// A name that does not parse.
    pub(crate) fn parse(field: &'static str) -> impl Fn(ParseIdError) -> Self {
        move |error| Self::invalid(field, error.to_string())
    }

    /// An error of a store, when `what` was asked.
    pub(crate) fn store(what: &'static str) -> impl Fn(StoreError) -> Self {
        move |error| match error {
            StoreError::Unavailable { .. } => Self::Unavailable { what, source: Box::new(error) },
            other => Self::Internal { what: "a store refused a correct request", source: Box::new(other) },
        }
    }
}

impl From<AuthorizerError> for Error {
    fn from(error: AuthorizerError) -> Self {
        Self::Unavailable { what: "the authorizer", source: Box::new(error) }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::UnknownCursor => Self::invalid("after", "this is no cursor of this execution's log"),
            LogError::Unavailable { .. } => Self::Unavailable { what: "the log", source: Box::new(error) },
        }
    }
}

impl From<ExecutorError> for Error {
    fn from(error: ExecutorError) -> Self {
        match error {
            ExecutorError::Busy { message } => Self::Busy { message },
            ExecutorError::Unavailable { what, .. } => Self::Unavailable { what, source: Box::new(error) },
            ExecutorError::Refused { .. } => {
                Self::Unavailable { what: "the executor", source: Box::new(error) }
            }
        }
    }
}
