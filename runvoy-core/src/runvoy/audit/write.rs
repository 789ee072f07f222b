//! Records of what is no decision about a caller.

use crate::execution::Execution;
use crate::id::Email;
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
    pub(crate) async fn record_repetition(&self, asked: &Execution, known: &Execution) -> Result<(), Error> {
        let name = |id| Resource::Execution { id, owners: &[] }.to_string();
        self.append(AuditEvent {
            at: self.inner.clock.now(),
            request_id: asked.created_by_request_id,
            user: asked.created_by.clone(),
            address: None,
            kind: AuditKind::Allowed,
            action: Action::Run.to_string(),
            resource: name(known.id),
            policy: None,
            detail: Some(format!("the same request again; {} was not made", name(asked.id))),
        })
        .await
    }
}
