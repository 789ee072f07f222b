use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::RequestId;

/// How much a line of the server's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceLevel {
    /// What explains the rest, in more detail than anybody wants.
    Trace,
    /// What explains the rest.
    Debug,
    /// The server's own life.
    Info,
    /// Something did not work now and is tried again.
    Warn,
    /// A fault of ours.
    Error,
}

impl fmt::Display for TraceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// A line of the server's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: TraceLevel,
    /// What it says, its fields included. Holds no secret: the server's log never does.
    pub message: String,
}

/// The server's own log, by request.
///
/// # Contract
///
/// - What was written before a request was answered is there for whoever asks after that.
/// - Lines come in the order in which they were written.
/// - The log is bounded: the oldest lines go first. What could not be kept is counted in the log itself, and never keeps
///   the server waiting.
/// - A request that nothing is known of has no lines; that is no error.
#[async_trait]
pub trait TraceLog: Send + Sync + 'static {
    /// The last `limit` lines that were written in a request, the oldest first.
    async fn read(&self, request: RequestId, limit: usize) -> Result<Vec<TraceLine>, StoreError>;
}
