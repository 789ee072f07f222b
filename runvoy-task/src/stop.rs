use serde::{Deserialize, Serialize};

use crate::{FORMAT_VERSION, FormatError, from_json};

/// What the executor asks of an agent that it is about to signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Format version.
    pub version: u32,
    /// Milliseconds between the stop signal and `SIGKILL`; the spec's own when absent.
    pub grace_ms: Option<u64>,
}

impl StopRequest {
    /// A request of the current version.
    pub fn new(grace_ms: Option<u64>) -> Self {
        Self { version: FORMAT_VERSION, grace_ms }
    }

    /// Reads a request; refuses a version this crate does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FormatError> {
        from_json("stop request", bytes, |stop: &Self| stop.version)
    }
}
