use serde::{Deserialize, Serialize};

use crate::{FORMAT_VERSION, FormatError, from_json};

/// How a task ended: the last thing an agent writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Format version.
    pub version: u32,
    /// The execution, 32 hex digits.
    pub execution_id: String,
    /// The command's own code, 128 + n for a signal; `None` if it never ran.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: EndReason,
    /// One sentence for people, where the reason needs one. Names no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the command started, in milliseconds since the Unix epoch; the claim's time if it never did.
    pub started_at_ms: u64,
    /// When the last process of the task was gone and the log was complete.
    pub finished_at_ms: u64,
    /// Number of log events, which is also the number that the next one would have had.
    pub events: u64,
    /// Stored (masked) bytes.
    pub bytes: u64,
    /// How many runs were masked.
    pub replacements: u64,
    /// BLAKE3 of the stored bytes in the order of the log, 64 hex digits.
    pub hash: String,
    /// The commit that was checked out, in hex, when the workspace came from git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether a PID namespace fenced the command in.
    pub pid_namespace: bool,
    /// How long each phase took.
    #[serde(default)]
    pub phases: Vec<PhaseTiming>,
}

impl EndRecord {
    /// The version to put into a new record.
    pub const VERSION: u32 = FORMAT_VERSION;

    /// What an agent exits with that has nothing of its command's to exit with.
    pub const NOT_RUN: u8 = 125;

    /// What the agent exits with that wrote this record.
    pub fn agent_code(&self) -> u8 {
        self.exit_code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Self::NOT_RUN)
    }

    /// Reads a record; refuses a version this crate does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FormatError> {
        from_json("end record", bytes, |end: &Self| end.version)
    }
}

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The command ended by itself.
    Exited,
    /// It ran longer than its timeout.
    TimedOut,
    /// The executor asked for it.
    Stopped,
    /// Somebody else signalled the agent.
    StoppedOutside,
    /// Its log grew over the limit.
    LogLimit,
    /// It, or what it started, was killed for want of memory, and it failed.
    OomKilled,
    /// The workspace could not be prepared, so the command was not started.
    WorkspaceFailed,
    /// The command could not be started.
    StartFailed,
    /// The supervisor died; what it supervised was killed.
    Lost,
}

/// One phase of a task and the time it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTiming {
    /// `prepare`, `workspace` or `command`, in this order; what did not happen is not there.
    pub phase: String,
    /// Milliseconds.
    pub ms: u64,
}
