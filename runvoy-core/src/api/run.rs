use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HolderData, WebsocketUrl};
use crate::id::ExecutionId;
use crate::state::Status;

/// The body of `POST /run`. Unknown fields are ignored; absent ones mean "empty".
///
/// `Debug` shows no variable's value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RunRequest {
    /// One line for the shell. Either this or `args`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An argument vector, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// A registered image; the default image if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of secrets.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub secrets: Vec<String>,
    /// A git repository to start in: `https://…`, without user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<String>,
    /// Its branch, tag or commit; `main` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// A directory of it, in which the command starts; its root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_path: Option<String>,
    /// The name of a secret that is its token. The command does not get it, unless `secrets` names it, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_token_secret: Option<String>,
    /// SHA-256 of uploaded code to start in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A lock to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// What if it is held: `fail`, the default, or `queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_lock_held: Option<String>,
    /// Seconds to wait for it at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<u64>,
    /// Seconds that the command may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Seconds between the stop signal and `SIGKILL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// The stop signal, `TERM` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// CPU units, 1024 a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// Memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// One of the networks that the image allows; the first of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// Existing clients send `null` for an empty map or list.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl fmt::Debug for RunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunRequest")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The two ways to name a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One line for the shell.
    Shell(String),
    /// An argument vector.
    Args(Vec<String>),
}

impl RunRequest {
    /// A request for a command, with everything else left to the defaults.
    ///
    /// ```
    /// use runvoy_core::api::{Command, RunRequest};
    ///
    /// let request = RunRequest::new(Command::Shell("echo hello".into()));
    /// assert_eq!(request.command.as_deref(), Some("echo hello"));
    /// ```
    pub fn new(command: Command) -> Self {
        match command {
            Command::Shell(line) => Self { command: Some(line), ..Self::default() },
            Command::Args(args) => Self { args: Some(args), ..Self::default() },
        }
    }
}

/// The answer to `POST /run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct RunAnswer {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Always present, may be empty.
    #[serde(default)]
    pub log_url: String,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// The command as a shell reads it.
    #[serde(default)]
    pub command: String,
    /// The image it runs in; empty where images have no meaning.
    #[serde(default)]
    pub image_id: String,
    /// Where its log is followed. The token in it is new with every answer.
    #[serde(default)]
    pub websocket_url: WebsocketUrl,
    /// Its place in the line for its lock, 1 for the next; only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Who holds the lock it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderData>,
}
