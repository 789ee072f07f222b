use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HolderData, SecretUseData};
use crate::code::{Code, CodeDigest};
use crate::execution::{Execution, LockUse};
use crate::id::{Email, ExecutionId, LockName, RequestId, Role};
use crate::state::{Reason, Status};

/// `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// Where it runs: `LOCAL`, `AWS`.
    pub provider: String,
    /// Which region, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// `GET /greet/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Greeting {
    /// The greeting.
    pub message: String,
}

/// `GET /me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Me {
    /// Who the key belongs to.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub email: Email,
    /// Their role.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub role: Role,
    /// When the key expires, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub key_expires_at: Option<Timestamp>,
}

/// An element of `GET /executions`, in the shape that existing clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ExecutionSummary {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Who asked for it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by: Email,
    /// Who owns it.
    #[cfg_attr(feature = "http", schema(value_type = Vec<String>))]
    pub owned_by: Vec<Email>,
    /// The command.
    pub command: String,
    /// Its image; empty where images have no meaning.
    pub image_id: String,
    /// When it started; when it was accepted, until then.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub completed_at: Option<Timestamp>,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub status_reason: Option<Reason>,
    /// The command's code; 0 while it runs, 1 if it never ran.
    pub exit_code: i32,
    /// It ended without a start that is known of; absent otherwise. `exit_code` and `started_at` are stand-ins then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_started: bool,
    /// How long it took, absent when 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duration_seconds: i64,
    /// The request that created it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub modified_by_request_id: RequestId,
    /// The provider.
    pub cloud: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl ExecutionSummary {
    /// The summary of a record.
    pub fn new(record: &Execution, provider: &str) -> Self {
        Self {
            execution_id: record.id,
            created_by: record.created_by.clone(),
            owned_by: record.owned_by.clone(),
            command: record.command.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            started_at: record.started_at.unwrap_or(record.created_at),
            completed_at: record.completed_at,
            status: record.status,
            status_reason: record.status_reason,
            exit_code: shown_exit_code(record).unwrap_or(0),
            never_started: record.status.is_terminal() && record.started_at.is_none(),
            duration_seconds: duration_seconds(record),
            created_by_request_id: record.created_by_request_id,
            modified_by_request_id: record.modified_by_request_id,
            cloud: provider.to_owned(),
        }
    }
}

/// What existing clients are shown: 1 for a command that never ran.
fn shown_exit_code(record: &Execution) -> Option<i32> {
    record.status.is_terminal().then(|| record.exit_code.unwrap_or(1))
}

fn duration_seconds(record: &Execution) -> i64 {
    match (record.started_at, record.completed_at) {
        (Some(from), Some(to)) => (to.as_millisecond() - from.as_millisecond()) / 1000,
        _ => 0,
    }
}

/// `GET /executions/{id}/status`, in the shape that existing clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct StatusAnswer {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// The command.
    pub command: String,
    /// Its image; empty where images have no meaning.
    pub image_id: String,
    /// When it started; when it was accepted, until then.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub completed_at: Option<Timestamp>,
    /// The command's code; `null` until the end, 1 if it never ran.
    pub exit_code: Option<i32>,
}

impl StatusAnswer {
    /// The status of a record.
    pub fn new(record: &Execution) -> Self {
        Self {
            execution_id: record.id,
            status: record.status,
            command: record.command.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            started_at: record.started_at.unwrap_or(record.created_at),
            completed_at: record.completed_at,
            exit_code: shown_exit_code(record),
        }
    }
}

/// `GET /executions/{id}`: the whole record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ExecutionRecord {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Who asked for it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by: Email,
    /// Who owns it.
    #[cfg_attr(feature = "http", schema(value_type = Vec<String>))]
    pub owned_by: Vec<Email>,
    /// The command as a shell reads it.
    pub command: String,
    /// Its image; empty where images have no meaning.
    pub image_id: String,
    /// What that image was exactly when it ran: a digest.
    pub image_digest: Option<String>,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// Why.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub status_reason: Option<Reason>,
    /// The same for people, and what to do about it.
    pub status_detail: Option<String>,
    /// The command's own code, 128 + n for a signal; `null` until known, and for ever if it never ran.
    pub exit_code: Option<i32>,
    /// When it was accepted.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Timestamp,
    /// When its command started.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub completed_at: Option<Timestamp>,
    /// Seconds that its command may run.
    pub timeout: u64,
    /// Seconds between the stop signal and `SIGKILL`.
    pub grace: u64,
    /// Who asked for its end.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub stopped_by: Option<Email>,
    /// The lock it wants, holds or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockUseData>,
    /// Its place in the line for its lock, 1 for the next; only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Who holds the lock it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderData>,
    /// The secrets that it gets. Of one name there are several where a start was tried again after the secret had
    /// changed: the command was given one of these versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUseData>,
    /// The git repository that it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<String>,
    /// The branch, tag or commit that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The directory of the repository in which the command starts; absent for its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_path: Option<String>,
    /// The commit that was checked out; absent until the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// SHA-256 of the uploaded code that it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub code: Option<CodeDigest>,
    /// Bytes of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_bytes: Option<u64>,
    /// Events in its log, once that is whole.
    pub log_events: Option<u64>,
    /// Bytes in its log.
    pub log_bytes: Option<u64>,
    /// Masked runs in its log.
    pub log_replacements: Option<u64>,
    /// Hash of its log's bytes, with the algorithm in front.
    pub log_hash: Option<String>,
    /// The request that created it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub modified_by_request_id: RequestId,
    /// The provider.
    pub cloud: String,
}

impl ExecutionRecord {
    /// The whole record.
    pub fn new(record: &Execution, provider: &str) -> Self {
        let log = record.log.as_ref();
        let git = record.code.as_ref().and_then(Code::git);
        let upload = record.code.as_ref().and_then(Code::upload);
        Self {
            execution_id: record.id,
            created_by: record.created_by.clone(),
            owned_by: record.owned_by.clone(),
            command: record.command.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            image_digest: record.image_digest.clone(),
            status: record.status,
            status_reason: record.status_reason,
            status_detail: record.status_detail.clone(),
            exit_code: record.exit_code,
            created_at: record.created_at,
            started_at: record.started_at,
            completed_at: record.completed_at,
            timeout: record.timeout,
            grace: record.grace,
            stopped_by: record.stop.as_ref().map(|stop| stop.by.clone()),
            lock: record.lock.as_ref().map(LockUseData::from),
            position: None,
            holder: None,
            secrets: record.secrets.iter().map(SecretUseData::from).collect(),
            git_repo: git.map(|git| git.repo.clone()),
            git_ref: git.map(|git| git.git_ref.clone()),
            git_path: git.and_then(|git| git.path.clone()),
            git_commit: git.and_then(|git| git.commit.clone()),
            code: upload.map(|upload| upload.digest),
            code_bytes: upload.map(|upload| upload.size),
            log_events: log.map(|log| log.events),
            log_bytes: log.map(|log| log.bytes),
            log_replacements: log.map(|log| log.replacements),
            log_hash: log.map(|log| log.hash.clone()),
            created_by_request_id: record.created_by_request_id,
            modified_by_request_id: record.modified_by_request_id,
            cloud: provider.to_owned(),
        }
    }
}

/// An execution's part in a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LockUseData {
    /// The lock.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: LockName,
    /// The fencing token it was granted with; `null` until then.
    pub token: Option<u64>,
    /// When it was granted.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub granted_at: Option<Timestamp>,
    /// Seconds to wait for it at most.
    pub max_wait: u64,
    /// Who took the lock from it without waiting for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub abandoned_by: Option<Email>,
    /// Which execution lost the lock to it and may still have run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub after_abandoned: Option<ExecutionId>,
}

impl From<&LockUse> for LockUseData {
    fn from(lock: &LockUse) -> Self {
        Self {
            name: lock.name.clone(),
            token: lock.token,
            granted_at: lock.granted_at,
            max_wait: lock.max_wait,
            abandoned_by: lock.abandoned_by.clone(),
            after_abandoned: lock.after_abandoned,
        }
    }
}

/// The optional body of `DELETE /executions/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct KillRequest {
    /// Seconds until `SIGKILL`; the run's own grace if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
}

/// The answer to `DELETE /executions/{id}` for a live execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct KillAnswer {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// What happens now.
    pub message: String,
}
