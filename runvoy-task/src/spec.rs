use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{FORMAT_VERSION, FormatError, Workspace, from_json};

/// Everything the agent needs to run one command.
///
/// Holds secret values, so `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Format version, [`FORMAT_VERSION`] when written.
    pub version: u32,
    /// The execution, 32 hex digits.
    pub execution_id: String,
    /// What to run.
    pub command: CommandLine,
    /// The command's whole environment.
    pub env: BTreeMap<String, String>,
    /// Names of variables in `env` that a file `.env` in the working directory repeats, unless there is one already.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dotenv: BTreeSet<String>,
    /// Where the command starts, or what the workspace goes into: that has to be empty, or missing.
    pub workdir: PathBuf,
    /// What is put there first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Milliseconds after which preparing the workspace is given up.
    #[serde(default = "default_workspace_timeout_ms")]
    pub workspace_timeout_ms: u64,
    /// Who the command runs as; the agent's own user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,
    /// Who the command runs as by the account files of the place it runs in, as an image names its user:
    /// `NAME|UID[:GROUP|GID]`. Sets `HOME` where the environment has none. In place of `run_as`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Milliseconds from the command's start after which it is stopped.
    pub timeout_ms: u64,
    /// Milliseconds between the stop signal and `SIGKILL`.
    pub grace_ms: u64,
    /// The stop signal's name without `SIG`, as `TERM` or `INT`.
    pub stop_signal: String,
    /// Values that must not appear in the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// Stored log bytes after which the command is killed.
    pub log_limit: u64,
    /// Bytes after which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// `RLIMIT_NPROC` of the command, where it has meaning (not for root).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u64>,
    /// How the command's process tree is fenced in.
    #[serde(default)]
    pub isolation: Isolation,
}

impl TaskSpec {
    /// Reads a spec; refuses a version this crate does not know.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FormatError> {
        from_json("task spec", bytes, |spec: &Self| spec.version)
    }

    /// The version to put into a new spec.
    pub const VERSION: u32 = FORMAT_VERSION;
    /// How long a workspace may take when nobody says otherwise: 10 minutes.
    pub const WORKSPACE_TIMEOUT_MS: u64 = 10 * 60 * 1000;
}

fn default_workspace_timeout_ms() -> u64 {
    TaskSpec::WORKSPACE_TIMEOUT_MS
}

impl fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpec")
            .field("execution_id", &self.execution_id)
            .field("env", &format_args!("{} variables", self.env.len()))
            .field("mask", &format_args!("{} values", self.mask.len()))
            .finish_non_exhaustive()
    }
}

/// The command: data, never spliced into a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandLine {
    /// One argument for `/bin/sh -c`.
    Shell(String),
    /// An argument vector, run without a shell. Never empty.
    Args(Vec<String>),
}

/// The identity a command runs under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// How the agent keeps a command's descendants in reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A PID namespace where the kernel grants one, else a sub-reaper.
    #[default]
    Auto,
    /// A sub-reaper that walks `/proc`, also where a namespace could be had.
    Subreaper,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GitWorkspace, Secret};

    const FIRST: &str = r#"{"version":1,"execution_id":"e","command":{"shell":"true"},"env":{},"workdir":"/w",
        "timeout_ms":1,"grace_ms":1,"stop_signal":"TERM","log_limit":1,"segment_bytes":1}"#;

    #[test]
    fn the_version_before_is_read_and_the_one_to_come_is_not() {
        let spec = TaskSpec::from_json(FIRST.as_bytes()).unwrap();
        assert_eq!((spec.workspace, spec.workspace_timeout_ms), (None, TaskSpec::WORKSPACE_TIMEOUT_MS));
        assert!(spec.dotenv.is_empty());
        let next = FIRST.replace("\"version\":1", &format!("\"version\":{}", FORMAT_VERSION + 1));
        assert!(matches!(TaskSpec::from_json(next.as_bytes()), Err(FormatError::Version { .. })));
    }

    #[test]
    fn no_token_is_shown() {
        let mut spec = TaskSpec::from_json(FIRST.as_bytes()).unwrap();
        let mut git = GitWorkspace::new("https://example.com/a.git");
        git.token = Some(Secret::new("tok-1"));
        git.network.https_proxy = Some(Secret::new("http://u:tok-2@proxy"));
        assert!(!format!("{git:?}").contains("tok-"));
        spec.workspace = Some(Workspace::Git(git));
        assert!(!format!("{spec:?}").contains("tok-"));
        let bytes = serde_json::to_vec(&spec).unwrap();
        assert_eq!(TaskSpec::from_json(&bytes).unwrap(), spec);
    }
}
