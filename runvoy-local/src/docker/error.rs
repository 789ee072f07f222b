//! What can go wrong with an engine.

use runvoy_core::port::ExecutorError;

/// An error of the engine, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// It answered, and said no.
    #[error("the Docker engine says: {message}")]
    Said {
        /// Of HTTP; 0 in the middle of a stream.
        status: u16,
        /// In its own words.
        message: String,
    },
    /// It did not answer, or not in its own language.
    #[error("the Docker engine at {host} does not answer; see that it runs and that this user may use it")]
    Silent {
        /// Where it was looked for.
        host: String,
        /// What the connection says.
        source: bollard::errors::Error,
    },
    /// Nothing can be reached there.
    #[error("DOCKER_HOST is `{0}`; this server reaches engines by unix:// and tcp:// only")]
    Address(String),
}

impl EngineError {
    pub(super) fn new(host: &str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;

        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Said { status: status_code, message }
            }
            Error::DockerStreamError { error } => Self::Said { status: 0, message: error },
            source => Self::Silent { host: host.to_owned(), source },
        }
    }
}

impl From<EngineError> for ExecutorError {
    fn from(error: EngineError) -> Self {
        Self::unavailable_of("the Docker engine", error)
    }
}
