//! Records of what is no decision about a caller.

use crate::id::{Email, ExecutionId, RequestId};
use crate::port::{Action, AuditEvent, AuditKind, Resource};
use crate::runvoy::{Error, RequestContext, Runvoy};

impl Runvoy {
    /// What the system itself is about to do.
    pub(crate) fn system_event(&self, action: &str, resource: Resource<'_>, detail: String) -> AuditEvent {
        AuditEvent {
            at: self.inner.clock.now(),
            request_id: RequestContext::internal().request_id,
            user: Email::system(),
            address: None,
            kind: AuditKind::Allowed,
            action: action.to_owned(),
            resource: resource.to_string(),
            policy: None,
            detail: Some(detail),
        }
    }

    /// Records that a decision is about an execution of earlier: the one that it names was never made.
    pub(crate) async fn record_repetition(
        &self,
        (request_id, user): (RequestId, Email),
        never_made: ExecutionId,
        known: ExecutionId,
    ) -> Result<(), Error> {
        let name = |id| Resource::Execution { id, owners: &[] }.to_string();
        self.append(AuditEvent {
            at: self.inner.clock.now(),
            request_id,
            user,
            address: None,
            kind: AuditKind::Allowed,
            action: Action::Run.to_string(),
            resource: name(known),
            policy: None,
            detail: Some(format!("the same request again; {} was not made", name(never_made))),
        })
        .await
    }
}
