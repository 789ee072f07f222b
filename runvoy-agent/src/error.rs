//! Why the agent itself fails, as opposed to its command.

use std::io;
use std::path::PathBuf;

use runvoy_task::FormatError;

/// An error of the agent. Names no value of the spec.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// The arguments make no sense.
    #[error("usage: runvoy-agent supervise DIR | contain DIR | probe DIR | --version")]
    Usage,
    /// The execution's directory is not there.
    #[error("{path} is not a directory")]
    NoDirectory {
        /// The argument.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The spec cannot be read.
    #[error("unusable task spec")]
    Spec(#[from] FormatError),
    /// The spec can be read, but asks for something that does not exist.
    #[error("unusable task spec: {0}")]
    SpecValue(&'static str),
    /// A stop arrived before there was anything to stop.
    #[error("stopped before the task spec was complete")]
    StoppedEarly,
    /// The patterns of the secrets cannot be compiled.
    #[error("the masks could not be prepared")]
    Masks(#[from] aho_corasick::BuildError),
    /// A system call failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl AgentError {
    /// Turns any system error into one of ours: `.map_err(AgentError::io("opening the log"))`.
    pub(crate) fn io<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { what, source: error.into() }
    }
}
