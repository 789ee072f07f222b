//! The record of an execution, and what is needed to start it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use runvoy_task::CommandLine;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::id::{Email, ExecutionId, LockName, ParseIdError, RequestId};
use crate::locks::{Holder, WhenHeld};
use crate::secrets::{SecretUse, WantedSecret, note_use};
use crate::state::{Reason, Status, allows};

/// One command that somebody asked for: what stays of it for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Who asked for it.
    pub created_by: Email,
    /// Who has an owner's rights over it.
    pub owned_by: Vec<Email>,
    /// The command as a shell would read it.
    pub command: String,
    /// The registered image it ran in, where images have a meaning.
    pub image_id: Option<String>,
    /// What that image was exactly when it ran: a digest.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// Where it is in its life.
    pub status: Status,
    /// Why.
    pub status_reason: Option<Reason>,
    /// The same for people: one sentence, and what to do about it.
    pub status_detail: Option<String>,
    /// The command's own code, 128 + n for a signal; `None` until known, and for ever if it never ran.
    pub exit_code: Option<i32>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its command started.
    pub started_at: Option<Timestamp>,
    /// When it reached a terminal status.
    pub completed_at: Option<Timestamp>,
    /// When somebody last tried to start it: the others leave that one alone for a while.
    pub attempted_at: Timestamp,
    /// Seconds that its command may run.
    pub timeout: u64,
    /// Seconds between the stop signal and `SIGKILL`.
    pub grace: u64,
    /// What its executor calls its task, where that is not derived from the id.
    pub task: Option<TaskHandle>,
    /// The kill that somebody asked for.
    pub stop: Option<StopOrder>,
    /// The request that created it.
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    pub modified_by_request_id: RequestId,
    /// What its log holds, once it is whole.
    pub log: Option<LogSummary>,
    /// The lock it holds, waits for, or held.
    pub lock: Option<LockUse>,
    /// The secrets it gets, and the versions that its tasks were given.
    #[serde(default)]
    pub secrets: Vec<SecretUse>,
    /// The code it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Execution {
    /// Applies a change, if the state machine allows it from where the record is.
    ///
    /// Every store changes records by this function alone, so that no backend has rules of its own.
    pub fn apply(&mut self, patch: &Patch) -> Result<(), ForbiddenStep> {
        let to = patch.status.unwrap_or(self.status);
        if !allows(Some(self.status), to, patch.reason) {
            return Err(ForbiddenStep { from: self.status, to, reason: patch.reason });
        }
        self.status = to;
        let Patch { status: _, reason, detail, exit_code, started_at, completed_at, attempted_at, .. } =
            patch;
        set(&mut self.status_reason, reason.as_ref());
        set(&mut self.status_detail, detail.as_ref());
        set(&mut self.exit_code, exit_code.as_ref());
        set(&mut self.started_at, started_at.as_ref());
        set(&mut self.completed_at, completed_at.as_ref());
        set(&mut self.task, patch.task.as_ref());
        set(&mut self.stop, patch.stop.as_ref());
        set(&mut self.log, patch.log.as_ref());
        set(&mut self.image_digest, patch.image_digest.as_ref());
        set(&mut self.lock, patch.lock.as_ref());
        if let (Some(Code::Git(git)), Some(commit)) = (&mut self.code, &patch.commit) {
            git.commit = Some(commit.clone());
        }
        patch.secrets.iter().for_each(|given| note_use(&mut self.secrets, given));
        if let Some(at) = attempted_at {
            self.attempted_at = *at;
        }
        if let Some(request) = patch.request_id {
            self.modified_by_request_id = request;
        }
        Ok(())
    }

    /// Whether its task may have claimed the command: it is not merely accepted.
    pub fn is_claimed(&self) -> bool {
        self.started_at.is_some()
    }
}

fn set<T: Clone>(field: &mut Option<T>, value: Option<&T>) {
    if let Some(value) = value {
        *field = Some(value.clone());
    }
}

/// A change of a record: what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// The new status.
    pub status: Option<Status>,
    /// Its reason.
    pub reason: Option<Reason>,
    /// The reason in words.
    pub detail: Option<String>,
    /// The command's code.
    pub exit_code: Option<i32>,
    /// When the command started.
    pub started_at: Option<Timestamp>,
    /// When the execution ended.
    pub completed_at: Option<Timestamp>,
    /// When somebody last tried to start it.
    pub attempted_at: Option<Timestamp>,
    /// The executor's name for the task.
    pub task: Option<TaskHandle>,
    /// The kill that somebody asked for.
    pub stop: Option<StopOrder>,
    /// The request that changes it.
    pub request_id: Option<RequestId>,
    /// What its log holds.
    pub log: Option<LogSummary>,
    /// What its image is exactly.
    pub image_digest: Option<String>,
    /// What became of its lock.
    pub lock: Option<LockUse>,
    /// Secrets that a task is given, beside those of earlier tasks.
    pub secrets: Vec<SecretUse>,
    /// The commit of its repository that was checked out.
    pub commit: Option<String>,
}

impl Patch {
    /// A change of status.
    pub fn to(status: Status) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The turn of an execution that was granted the lock which it wanted: it starts.
    pub fn granted(wanted: &LockUse, holder: &Holder, now: Timestamp) -> Self {
        let lock = LockUse {
            token: Some(holder.token),
            granted_at: Some(holder.since),
            after_abandoned: holder.after_abandoned,
            ..wanted.clone()
        };
        Self { lock: Some(lock), attempted_at: Some(now), ..Self::to(Status::Starting) }
    }
}

/// A step that the state machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an execution does not go from {from} to {to}{}", reason.map(|r| format!(" for `{r}`")).unwrap_or_default())]
pub struct ForbiddenStep {
    /// From here.
    pub from: Status,
    /// To here.
    pub to: Status,
    /// For this reason.
    pub reason: Option<Reason>,
}

/// What an executor calls a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskHandle(pub String);

/// A kill: who asked for it, and how patient they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Who.
    pub by: Email,
    /// When.
    pub at: Timestamp,
    /// Seconds until `SIGKILL`; the run's own grace if absent.
    pub grace: Option<u64>,
}

/// An execution's part in a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockUse {
    /// The lock.
    pub name: LockName,
    /// What if it is not free.
    pub when_held: WhenHeld,
    /// Seconds to wait for it at most.
    pub max_wait: u64,
    /// The fencing token it was granted with; `None` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// When it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
    /// Who took the lock from it without waiting for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned_by: Option<Email>,
    /// Who lost the lock to it and may still have run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_abandoned: Option<ExecutionId>,
    /// The policy that forbade it when its turn came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_by: Option<String>,
}

impl LockUse {
    /// A lock that is still to be asked for.
    pub fn wanted(name: LockName, when_held: WhenHeld, max_wait: u64) -> Self {
        Self {
            name,
            when_held,
            max_wait,
            token: None,
            granted_at: None,
            abandoned_by: None,
            after_abandoned: None,
            denied_by: None,
        }
    }
}

/// What a log holds: taken from the agent's end record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// Events.
    pub events: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Runs that were masked.
    pub replacements: u64,
    /// Hash of the stored bytes, with its algorithm in front: `blake3:…`.
    pub hash: String,
}

/// The signal that asks a command to stop, without `SIG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSignal(&'static str);

impl StopSignal {
    const ALL: [&'static str; 7] = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL"];

    /// The name without `SIG`.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        Self("TERM")
    }
}

impl FromStr for StopSignal {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|signal| *signal == name)
            .map(Self)
            .ok_or(ParseIdError("a stop signal is TERM, INT, HUP, QUIT, USR1, USR2 or KILL"))
    }
}

impl Serialize for StopSignal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for StopSignal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is needed to start an execution's task.
///
/// Stored sealed while the execution is live, because variables may hold what nobody else should read, and
/// wiped when it ends. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The command.
    pub command: CommandLine,
    /// The caller's variables.
    pub env: BTreeMap<String, String>,
    /// How long the command may run.
    pub timeout: Duration,
    /// Between the stop signal and `SIGKILL`.
    pub grace: Duration,
    /// The stop signal that was asked for; that of [`Container`] if absent, then the image's own, then `TERM`.
    pub stop_signal: Option<StopSignal>,
    /// What the task runs in, where the executor has images.
    #[serde(default)]
    pub container: Container,
    /// What else was asked, for whoever decides again when a lock is granted.
    #[serde(default)]
    pub asked: Asked,
    /// The code it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// What a task runs in: its image, and what differs from the image's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The image, as it was registered.
    pub image: Option<String>,
    /// CPU units, 1024 a core.
    pub cpu: Option<u64>,
    /// Memory in MiB.
    pub memory: Option<u64>,
    /// `OS/ARCHITECTURE[/VARIANT]`; the executor's own if absent.
    pub platform: Option<String>,
    /// Who the command runs as: `NAME|UID[:GROUP|GID]`, in the image's own account files.
    pub user: Option<String>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<StopSignal>,
    /// The executor's name of a network.
    pub network: Option<String>,
    /// Whether nothing but the workspace and what the image declares can be written to.
    pub read_only: bool,
}

/// What a policy may look at beside the command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Who owns the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_owners: Vec<Email>,
    /// The network, where one was named: what an image gives by itself is no wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The secrets it is to get, never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<WantedSecret>,
}

impl fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRequest")
            .field("env", &format_args!("{} variables", self.env.len()))
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
