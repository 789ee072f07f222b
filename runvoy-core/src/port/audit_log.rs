use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::audit::{AuditFilter, AuditRecord, Checkpoint, Head};
use crate::id::{Email, RequestId};

/// What an audit event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// Somebody was allowed to do something, and is about to.
    Allowed,
    /// Somebody was not allowed to do something.
    Denied,
    /// What became of a run, or of a claim.
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
    /// Who; for an outcome, who asked for it.
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

/// A stretch of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// What fits; it may be nothing although more follows.
    pub records: Vec<AuditRecord>,
    /// The number after which to go on; `None` at the end.
    pub next: Option<u64>,
}

/// An append-only record of every decision, each bound to those before it.
///
/// # Contract
///
/// - There is no update and no delete.
/// - An answer to [`append`](Self::append) means durable. Numbers grow by one in the order of appending.
/// - The record is made from the one before it within the same atomic write: of any number of appends at once, none
///   shares its predecessor with another.
/// - Reading answers what is stored, byte for byte as far as it is text, also where somebody changed it. What is no text,
///   or has a number that no record has, shows as what no record says; it never makes reading fail, or go in a circle.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends an event and answers its number.
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError>;

    /// At most `limit` records after number `after`, in the order of their numbers.
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;

    /// Of the records after number `after`, in the order of their numbers, those that fit; at most `limit`, and fewer where
    /// the next one is far: then `next` says where to go on.
    ///
    /// To be implemented by a log that does not have to read all that it leaves out.
    async fn find(&self, filter: &AuditFilter, after: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let mut records = self.read(after, limit).await?;
        let next = records.last().filter(|_| records.len() == limit).map(|record| record.seq);
        records.retain(|record| filter.fits(&record.text));
        Ok(AuditPage { records, next })
    }

    /// The end of the chain.
    async fn head(&self) -> Result<Head, StoreError>;

    /// Keeps a checkpoint, durably.
    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Every checkpoint, in the order of adding. One that can no longer be read is answered with a time of 0.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;

    /// The last of them.
    ///
    /// To be implemented by a log that does not have to read all of them for it.
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.checkpoints().await?.pop())
    }
}
