//! Fetching a key with a claim token.

use super::{Error, RequestContext, Runvoy};
use crate::claim::ClaimToken;
use crate::key::ApiKey;
use crate::port::{Account, AuditEvent, AuditKind, ClaimOutcome, Resource, StoreError, User};

/// A key, for the one moment in which it is shown.
#[derive(Clone, Debug)]
pub struct ClaimedKey {
    /// Whose it is.
    pub user: User,
    /// The key.
    pub key: ApiKey,
}

impl Runvoy {
    /// Gives the key to whoever has the claim token: once, and never again.
    ///
    /// Recorded before it is tried, and what came of it after: of several at once one gets the key.
    pub async fn claim(&self, token: &str, context: RequestContext) -> Result<ClaimedKey, Error> {
        self.inner.rates.may_try(None, context.address)?;
        let now = self.inner.clock.now();
        let (token, pending) = self.opened(token, context).await?;
        match pending.claim_outcome(now) {
            ClaimOutcome::Claimed(_) => {}
            ClaimOutcome::Used => {
                return self.refuse_claim(&pending.user, context, "it was used", spent()).await;
            }
            ClaimOutcome::Unknown => {
                return self.refuse_claim(&pending.user, context, "it lapsed", unknown()).await;
            }
        }
        let key = match pending.claim.and_then(|claim| claim.sealed) {
            None => ApiKey::generate(),
            Some(sealed) => token.unseal(&sealed).map_err(|error| Error::Internal {
                what: "the preset key is not readable",
                source: Box::new(error),
            })?,
        };
        let intent = self.claim_event(&pending.user, context);
        self.append(intent.clone()).await?;
        let this = self.clone();
        // What came of it is recorded also if nobody waits for the answer.
        self.although_the_caller_goes(async move {
            let claimed = this.inner.keys.claim(&token.hash(), key.hash(), now, context.request_id).await;
            this.record_end_of_claim(intent, &claimed).await;
            answer(claimed, key)
        })
        .await
    }

    /// Whoever comes with a token that was good once may be a thief, or the one who was robbed.
    async fn refuse_claim(
        &self,
        user: &User,
        context: RequestContext,
        why: &str,
        error: Error,
    ) -> Result<ClaimedKey, Error> {
        let detail = Some(format!("no key: {why} before"));
        let event = AuditEvent { kind: AuditKind::Denied, detail, ..self.claim_event(user, context) };
        self.append(event).await?;
        Err(error)
    }

    /// A token that somebody has, or had. One that nobody has is a guess, and counts as such.
    async fn opened(&self, token: &str, context: RequestContext) -> Result<(ClaimToken, Account), Error> {
        let opened = match ClaimToken::parse(token) {
            Err(_) => None,
            Ok(token) => {
                let store = Error::store("the key store");
                let pending = self.inner.keys.pending(&token.hash()).await.map_err(store)?;
                pending.map(|pending| (token, pending))
            }
        };
        if opened.is_none() {
            self.inner.rates.failed(context.address);
        }
        opened.ok_or_else(unknown)
    }

    fn claim_event(&self, user: &User, context: RequestContext) -> AuditEvent {
        AuditEvent {
            at: self.inner.clock.now(),
            request_id: context.request_id,
            user: user.email.clone(),
            address: context.address,
            kind: AuditKind::Allowed,
            action: "claim_key".to_owned(),
            resource: Resource::User(&user.email).to_string(),
            policy: None,
            detail: None,
        }
    }

    /// A key that was given cannot be taken back, nor given again: it is answered also where this cannot be recorded.
    async fn record_end_of_claim(&self, intent: AuditEvent, claimed: &Result<ClaimOutcome, StoreError>) {
        let detail = match claimed {
            Ok(ClaimOutcome::Claimed(_)) => "the key was fetched",
            Ok(ClaimOutcome::Used) => "no key: the token was used meanwhile",
            Ok(ClaimOutcome::Unknown) => "no key: the token lapsed or was replaced meanwhile",
            Err(StoreError::Conflict { .. }) => "no key: the preset key is in use",
            Err(_) => "not known: the key store did not answer",
        };
        let (kind, at) = (AuditKind::Outcome, self.inner.clock.now());
        let event = AuditEvent { kind, at, detail: Some(detail.to_owned()), ..intent };
        if let Err(error) = self.append(event).await {
            tracing::error!(%error, detail, "what came of a claim is not in the audit log");
        }
    }
}

fn answer(claimed: Result<ClaimOutcome, StoreError>, key: ApiKey) -> Result<ClaimedKey, Error> {
    match claimed {
        Ok(ClaimOutcome::Claimed(user)) => Ok(ClaimedKey { user: *user, key }),
        Ok(ClaimOutcome::Used) => Err(spent()),
        Ok(ClaimOutcome::Unknown) => Err(unknown()),
        Err(StoreError::Conflict { .. }) => Err(Error::Conflict {
            message: "the preset key is in use; ask an admin for another claim token".to_owned(),
        }),
        Err(error) => Err(Error::store("the key store")(error)),
    }
}

fn unknown() -> Error {
    Error::NotFound { what: "claim token, unknown or expired,".to_owned() }
}

fn spent() -> Error {
    Error::Conflict { message: "this claim token was used already; if not by you, tell an admin".to_owned() }
}
