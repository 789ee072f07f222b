//! The first admin.

use super::{Error, RequestContext, Runvoy};
use crate::id::{Email, Role};
use crate::key::ApiKey;
use crate::port::{AuditEvent, AuditKind, Resource, User};

impl Runvoy {
    /// Whether nobody is known yet.
    pub async fn is_new(&self) -> Result<bool, Error> {
        Ok(self.inner.keys.list().await.map_err(Error::store("the key store"))?.is_empty())
    }

    /// Creates the first admin, if nobody is known yet, and says whether it did.
    ///
    /// Of any number of calls at once one creates it. The key is the caller's to keep: only its hash is stored.
    pub async fn bootstrap_admin(&self, email: Email, key: &ApiKey) -> Result<bool, Error> {
        if !self.is_new().await? {
            return Ok(false);
        }
        let now = self.inner.clock.now();
        let intent = AuditEvent {
            at: now,
            request_id: RequestContext::internal().request_id,
            user: email.clone(),
            address: None,
            kind: AuditKind::Allowed,
            action: "bootstrap_admin".to_owned(),
            resource: Resource::User(&email).to_string(),
            policy: None,
            detail: None,
        };
        self.append(intent.clone()).await?;
        let user = User::new(email, Role::Admin, now, intent.request_id);
        let store = Error::store("the key store");
        let created = self.inner.keys.bootstrap(user, key.hash()).await.map_err(store)?;
        if !created {
            let detail = Some("not made: somebody was there first".to_owned());
            self.append(AuditEvent { kind: AuditKind::Outcome, detail, ..intent }).await?;
        }
        Ok(created)
    }
}
