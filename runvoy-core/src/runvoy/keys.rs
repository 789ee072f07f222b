use super::{Error, RequestContext, Runvoy};
use crate::id::{Email, Role};
use crate::key::ApiKey;
use crate::port::{AuditEvent, AuditKind, User};

impl Runvoy {
    /// Whether nobody is known yet.
    pub async fn is_new(&self) -> Result<bool, Error> {
        Ok(self.inner.keys.list().await.map_err(Error::store("the key store"))?.is_empty())
    }

    /// Creates the first admin, if nobody is known yet, and says whether it did.
    ///
    /// Of any number of calls at once one creates it. The key is the caller's to keep: only its hash is stored.
    pub async fn bootstrap_admin(&self, email: Email, key: &ApiKey) -> Result<bool, Error> {
        let context = RequestContext::internal();
        let user = User::new(email.clone(), Role::Admin, self.inner.clock.now(), context.request_id);
        let store = Error::store("the key store");
        let created = self.inner.keys.bootstrap(user, key.hash()).await.map_err(store)?;
        if created {
            self.append(AuditEvent {
                at: self.inner.clock.now(),
                request_id: context.request_id,
                user: email.clone(),
                address: None,
                kind: AuditKind::Allowed,
                action: "bootstrap_admin".to_owned(),
                resource: format!("user:{email}"),
                policy: None,
                detail: None,
            })
            .await?;
        }
        Ok(created)
    }
}
