use serde::{Deserialize, Serialize};

use crate::{FORMAT_VERSION, FormatError, from_json};

/// The start gate of an execution: who came first.
///
/// Written to a file of its own and then hard-linked to [`crate::layout::GATE`]; link(2) succeeds for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Format version.
    pub version: u32,
    /// Who won.
    pub state: GateState,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Gate {
    /// A gate of the current version.
    pub fn new(state: GateState, at_ms: u64) -> Self {
        Self { version: FORMAT_VERSION, state, at_ms }
    }

    /// Reads a gate; refuses a version this crate does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FormatError> {
        from_json("start gate", bytes, |gate: &Self| gate.version)
    }
}

/// The two ends of the race for a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// A task has the right to run the command.
    Claimed(AgentProcess),
    /// No task ever runs the command.
    Revoked,
}

/// The process that holds a claim, told apart from a later process of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentProcess {
    /// Its process id in the server's PID namespace.
    pub pid: u32,
    /// Its start time in clock ticks since boot: field 22 of `proc_pid_stat(5)`.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` when it started.
    pub boot_id: String,
}
