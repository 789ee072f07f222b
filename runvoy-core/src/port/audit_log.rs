use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::{Email, RequestId};

/// What an audit event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// Somebody was allowed to do something, and is about to.
    Allowed,
    /// Somebody was not allowed to do something.
    Denied,
    /// What became of a run.
    Outcome,
}

impl AuditKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Outcome => "outcome",
        }
    }
}

/// One decision, or one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// In which request.
    pub request_id: RequestId,
    /// Who; for an outcome, who asked for the run.
    pub user: Email,
    /// From where, where that is known.
    pub address: Option<IpAddr>,
    /// Decision or outcome.
    pub kind: AuditKind,
    /// Which action.
    pub action: String,
    /// On which resource.
    pub resource: String,
    /// The policy that decided.
    pub policy: Option<String>,
    /// What else there is to say, in words. Names no secret.
    pub detail: Option<String>,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// The event.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// An append-only record of every decision.
///
/// # Contract
///
/// - There is no update and no delete.
/// - An answer to [`append`](Self::append) means durable. Numbers grow by one in the order of appending.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends an event and answers its number.
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError>;

    /// At most `limit` records after number `after`, oldest first.
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;
}
