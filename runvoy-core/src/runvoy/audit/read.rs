//! The audit log, for those who read it.

use crate::audit::AuditFilter;
use crate::port::{Action, AuditPage, Resource};
use crate::runvoy::{Caller, Error, Runvoy};

/// Records read at a time.
pub(super) const PAGE: usize = 1000;

impl Runvoy {
    /// What fits `filter` among the next records after number `after`, oldest first.
    pub async fn audit(&self, caller: &Caller, filter: &AuditFilter, after: u64) -> Result<AuditPage, Error> {
        self.authorize(caller, Action::ReadAudit, Resource::System, None).await?;
        self.audit_page(filter, after).await
    }

    /// The same for the service itself. Who goes on while there is more comes to an end: a log whose numbers do not
    /// grow is an error.
    pub(crate) async fn audit_page(&self, filter: &AuditFilter, after: u64) -> Result<AuditPage, Error> {
        let page = self.inner.audit.find(filter, after, PAGE).await.map_err(Error::store("the audit log"))?;
        if page.next.is_some_and(|next| next <= after) {
            let source = "its numbers do not grow: `runvoy audit verify` says where".into();
            return Err(Error::Unavailable { what: "the audit log", source });
        }
        Ok(page)
    }
}
