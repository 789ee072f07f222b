//! The audit log, for those who read and check it.

use jiff::Timestamp;

use super::{Caller, Error, Runvoy};
use crate::audit::{AuditRecord, AuditReport, Checkpoint, Head, Verifier};
use crate::id::{Email, RequestId};
use crate::port::{Action, Resource};

/// Records read at a time.
const PAGE: usize = 1000;

/// Which records are wanted; those that all conditions fit. What was damaged fits every filter: it must not hide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this user's.
    pub user: Option<Email>,
    /// Only of this action.
    pub action: Option<String>,
    /// Only of this request.
    pub request: Option<RequestId>,
    /// Only from then on.
    pub since: Option<Timestamp>,
}

impl AuditFilter {
    fn fits(&self, record: &AuditRecord) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(event) = record.event() else { return true };
        self.user.as_ref().is_none_or(|user| *user == event.user)
            && self.action.as_ref().is_none_or(|action| *action == event.action)
            && self.request.is_none_or(|request| request == event.request_id)
            && self.since.is_none_or(|since| since <= event.at)
    }
}

/// A stretch of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// What fits; it may be nothing although more follows.
    pub records: Vec<AuditRecord>,
    /// The number after which to go on; `None` at the end.
    pub next: Option<u64>,
}

impl Runvoy {
    /// What fits `filter` among the next records after number `after`, oldest first.
    pub async fn audit(&self, caller: &Caller, filter: &AuditFilter, after: u64) -> Result<AuditPage, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        self.audit_page(filter, after).await
    }

    pub(crate) async fn audit_page(&self, filter: &AuditFilter, after: u64) -> Result<AuditPage, Error> {
        let mut records = self.audit_records(after).await?;
        let next = if records.len() < PAGE { None } else { records.last().map(|record| record.seq) };
        records.retain(|record| filter.fits(record));
        Ok(AuditPage { records, next })
    }

    /// The end of the audit log, anchored: to be kept where whoever can write the log cannot.
    pub async fn audit_head(&self, caller: &Caller) -> Result<Checkpoint, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        self.checkpoint_audit().await
    }

    /// Checks the whole audit log against its hashes, its checkpoints, and a head that was kept elsewhere.
    pub async fn verify_audit(&self, caller: &Caller, kept: Option<Head>) -> Result<AuditReport, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        let key = self.inner.checkpoint_key.as_ref();
        let mut checkpoints = self.inner.audit.checkpoints().await.map_err(Error::store("the audit log"))?;
        // What the caller kept needs nobody's word but theirs.
        checkpoints.extend(kept.map(|head| Checkpoint::new(self.inner.clock.now(), head, key)));
        let mut verifier = Verifier::new(checkpoints, key);
        let mut after = 0;
        loop {
            let records = self.audit_records(after).await?;
            let whole = records.iter().all(|record| verifier.take(record));
            match records.last() {
                Some(last) if whole && records.len() == PAGE => after = last.seq,
                _ => return Ok(verifier.finish()),
            }
        }
    }

    /// Anchors what the audit log has by now: hourly, when asked for a head, and when the server stops. If nothing was
    /// appended since the last time, answers that checkpoint.
    pub async fn checkpoint_audit(&self) -> Result<Checkpoint, Error> {
        let store = Error::store("the audit log");
        let head = self.inner.audit.head().await.map_err(&store)?;
        let key = self.inner.checkpoint_key.as_ref();
        let new = Checkpoint::new(self.inner.clock.now(), head, key);
        if new.mac.is_none() {
            return Ok(new);
        }
        let last = self.inner.audit.checkpoints().await.map_err(&store)?.pop();
        match last {
            Some(last) if last.head == new.head => Ok(last),
            _ => {
                self.inner.audit.add_checkpoint(&new).await.map_err(&store)?;
                Ok(new)
            }
        }
    }

    async fn audit_records(&self, after: u64) -> Result<Vec<AuditRecord>, Error> {
        self.inner.audit.read(after, PAGE).await.map_err(Error::store("the audit log"))
    }
}
