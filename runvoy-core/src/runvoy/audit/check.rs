//! Whether the audit log is whole, and what anchors it.

use std::time::Duration;

use jiff::Timestamp;

use super::read::PAGE;
use crate::audit::{AuditReport, Checkpoint, Head, Verifier};
use crate::port::{Action, Resource};
use crate::runvoy::{Caller, Error, Runvoy};

/// Who asks for the head more often than this makes no more checkpoints.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_mins(1);

impl Runvoy {
    /// The end of the audit log, authenticated: to be kept where whoever can write the log cannot. Anchors the log too,
    /// unless that was done within a minute.
    pub async fn audit_head(&self, caller: &Caller) -> Result<Checkpoint, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        self.anchor_audit(BETWEEN_CHECKPOINTS, true).await
    }

    /// Checks the whole audit log against its hashes, its checkpoints, and a head that was kept elsewhere.
    pub async fn verify_audit(&self, caller: &Caller, kept: Option<Head>) -> Result<AuditReport, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        let store = Error::store("the audit log");
        let checkpoints = self.inner.audit.checkpoints().await.map_err(&store)?;
        let mut verifier = Verifier::new(checkpoints, self.inner.checkpoint_key.as_ref(), kept);
        let mut after = 0;
        loop {
            let records = self.inner.audit.read(after, PAGE).await.map_err(&store)?;
            // Numbers that do not grow are a fault, so this ends.
            let whole = records.iter().all(|record| verifier.take(record));
            match records.last() {
                Some(last) if whole && records.len() == PAGE => after = last.seq,
                _ => return Ok(verifier.finish()),
            }
        }
    }

    /// Anchors what the audit log has by now: when the server starts and stops, and hourly. If nothing was appended since
    /// the last time, answers that checkpoint.
    ///
    /// Over a checkpoint that is not authentic nothing is anchored: that is for an admin to do, who asks for the head.
    pub async fn checkpoint_audit(&self) -> Result<Checkpoint, Error> {
        self.anchor_audit(Duration::ZERO, false).await
    }

    /// Writes a checkpoint, unless the last one tells the same or is younger than `between`.
    async fn anchor_audit(&self, between: Duration, anew: bool) -> Result<Checkpoint, Error> {
        let store = Error::store("the audit log");
        let head = self.inner.audit.head().await.map_err(&store)?;
        let Some(key) = &self.inner.checkpoint_key else {
            return Ok(Checkpoint::new(self.inner.clock.now(), head, None));
        };
        let new = Checkpoint::new(self.inner.clock.now(), head, Some(key));
        let last = self.inner.audit.last_checkpoint().await.map_err(&store)?;
        // One that another key made, or that was changed, anchors nothing.
        let is_authentic = last.as_ref().is_some_and(|last| last.is_authentic(key));
        match last {
            // Nothing is there that could be cut off.
            None if new.head.seq == 0 => {}
            Some(_) if !is_authentic && !anew => {
                tracing::warn!(
                    "audit log not anchored: its last checkpoint is not authentic; see `runvoy audit verify`"
                );
            }
            Some(last) if is_authentic && last.head == new.head => return Ok(last),
            Some(last) if is_authentic && is_younger(last.at, new.at, between) => {}
            _ => self.inner.audit.add_checkpoint(&new).await.map_err(&store)?,
        }
        Ok(new)
    }
}

/// Whether `at` is in the past, and less than `age` ago. What is in the future tells of another clock.
fn is_younger(at: Timestamp, now: Timestamp, age: Duration) -> bool {
    let passed = Duration::try_from(now.duration_since(at));
    passed.is_ok_and(|passed| passed < age)
}
