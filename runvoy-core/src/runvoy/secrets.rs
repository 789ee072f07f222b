//! Secrets: who may see, change and use which, and that nobody learns of others.

use super::access::Granted;
use super::locks::hour;
use super::{Caller, Error, Runvoy, validate};
use crate::api::{CreateSecretRequest, UpdateSecretRequest};
use crate::id::SecretName;
use crate::limits;
use crate::port::{Action, AuditKind, Decision, Resource, RunContext, SecretCreated, SecretStore};
use crate::secrets::{Secret, SecretChange, SecretValue, WantedSecret};

/// What is said where there is no store.
pub(super) const NO_STORE: &str = "this server has no secret store";

impl Runvoy {
    /// The secrets that the caller may read, by name, without their values.
    pub async fn secrets(&self, caller: &Caller) -> Result<Vec<Secret>, Error> {
        self.authorize(caller, Action::ListSecrets, Resource::System, None).await?;
        self.shown_secrets(caller).await
    }

    /// The secrets whose existence is no secret to the caller.
    pub(super) async fn shown_secrets(&self, caller: &Caller) -> Result<Vec<Secret>, Error> {
        let Some(store) = &self.inner.secrets else { return Ok(Vec::new()) };
        let mut shown = Vec::new();
        for secret in store.list().await.map_err(Error::store("the secret store"))? {
            if self.may(caller, Action::ReadSecret, resource(&secret), None).await? {
                shown.push(secret);
            }
        }
        Ok(shown)
    }

    /// What is known of a secret, without its value. Recorded only where it is denied.
    pub async fn secret(&self, caller: &Caller, name: &str) -> Result<Secret, Error> {
        Ok(self.known_secret(caller, Action::ReadSecret, name).await?.0)
    }

    /// A secret and its value; recorded before it is read.
    pub async fn reveal_secret(&self, caller: &Caller, name: &str) -> Result<(Secret, SecretValue), Error> {
        let (secret, granted) = self.known_secret(caller, Action::ReadSecret, name).await?;
        self.record(granted, None, Some("its value")).await?;
        let revealed = self.secret_store()?.reveal(&secret.name, secret.created_by_request_id).await;
        revealed.map_err(Error::store("the secret store"))?.ok_or_else(|| no_secret(&secret.name))
    }

    /// Adds a secret, which the caller owns. One that has its name already is told to whoever may read or use it; for others
    /// the name is one that they may not create.
    pub async fn create_secret(
        &self,
        caller: &Caller,
        request: &CreateSecretRequest,
    ) -> Result<Secret, Error> {
        let name = self.secret_name(caller, Action::CreateSecret, &request.name).await?;
        let granted = self.authorize(caller, Action::CreateSecret, unknown(&name), None).await?;
        let known = self.stored_secret(&name).await?;
        if let Some(known) = &known {
            self.refuse_hidden(caller, known).await?;
        }
        let (key_name, description, value) = validate::new_secret(request)?;
        let now = self.inner.clock.now();
        let secret = Secret {
            name,
            key_name,
            description,
            version: 1,
            created_by: caller.user.clone(),
            owned_by: vec![caller.user.clone()],
            created_at: now,
            updated_at: now,
            updated_by: caller.user.clone(),
            created_by_request_id: caller.context.request_id,
            modified_by_request_id: caller.context.request_id,
        };
        if known.is_some() {
            return Err(Error::SecretExists { name: secret.name });
        }
        self.record(granted, None, Some(&format!("as `{}`", secret.key_name))).await?;
        let (this, new) = (self.clone(), secret.clone());
        let created = self.although_the_caller_goes(async move {
            let created = this.secret_store()?.create(new, value).await;
            created.map_err(Error::store("the secret store"))
        });
        match created.await? {
            SecretCreated::Made => Ok(secret),
            SecretCreated::Taken => Err(self.taken_meanwhile(caller, secret.name).await),
            SecretCreated::Full => {
                let most = limits::STORED_SECRETS;
                let message = format!("{most} secrets are kept, which is the limit; delete some");
                Err(Error::Conflict { message })
            }
        }
    }

    /// Changes what the request names of a secret. Where that is nothing, it stays as it is, and nothing is recorded.
    pub async fn update_secret(
        &self,
        caller: &Caller,
        name: &str,
        request: &UpdateSecretRequest,
    ) -> Result<Secret, Error> {
        let (secret, granted) = self.known_secret(caller, Action::UpdateSecret, name).await?;
        let (by, request_id) = (caller.user.clone(), caller.context.request_id);
        let nothing = SecretChange::nothing(by, self.inner.clock.now(), request_id);
        let change = validate::changed_secret(request, nothing)?;
        if change.is_nothing() {
            return Ok(secret);
        }
        self.record(granted, None, Some(&change.names())).await?;
        let this = self.clone();
        self.although_the_caller_goes(async move {
            let made_by = secret.created_by_request_id;
            let updated = this.secret_store()?.update(&secret.name, made_by, change).await;
            updated.map_err(Error::store("the secret store"))?.ok_or_else(|| no_secret(&secret.name))
        })
        .await
    }

    /// Deletes a secret. What got it keeps it; what waits for its start ends without.
    pub async fn delete_secret(&self, caller: &Caller, name: &str) -> Result<Secret, Error> {
        let (secret, granted) = self.known_secret(caller, Action::DeleteSecret, name).await?;
        self.record(granted, None, None).await?;
        let this = self.clone();
        self.although_the_caller_goes(async move {
            let deleted = this.secret_store()?.delete(&secret.name, secret.created_by_request_id).await;
            deleted.map_err(Error::store("the secret store"))?.ok_or_else(|| no_secret(&secret.name))
        })
        .await
    }

    /// Fails for a caller who may not create secrets, as far as that can be told without saying which.
    pub async fn check_secrets(&self, caller: &Caller) -> Result<(), Error> {
        let (name, stand_in) = (nameless(), Some("secret:"));
        let about = (Action::CreateSecret, unknown(&name));
        self.authorize_named(caller, about, None, stand_in).await.map(drop)
    }

    /// Fails for a caller who may not do this to a secret, or for whom there is none of that name.
    pub async fn check_secret(&self, caller: &Caller, action: Action, name: &str) -> Result<(), Error> {
        self.known_secret(caller, action, name).await.map(drop)
    }

    /// Whether somebody may create a secret of this name, as [`create_secret`](Self::create_secret) would decide. Records
    /// nothing.
    pub(super) async fn decide_creation(
        &self,
        caller: &Caller,
        name: &SecretName,
    ) -> Result<Decision, Error> {
        let decision = self.decide(caller, Action::CreateSecret, unknown(name), None).await?;
        match self.stored_secret(name).await? {
            Some(known) if self.is_hidden(caller, &known).await? => match decision {
                Decision::Allow { .. } => Ok(Decision::Deny { policy: None }),
                denied @ Decision::Deny { .. } => Ok(denied),
            },
            _ => Ok(decision),
        }
    }

    /// A secret as it is to be asked about for a caller who may be told nothing of it: as one that is not there. Any
    /// other resource is what it is.
    ///
    /// Of what is hidden, everybody is told what they would be told of a name that nobody uses.
    pub(super) async fn as_seen<'a>(
        &self,
        caller: &Caller,
        action: Action,
        asked: Resource<'a>,
        run: Option<RunContext<'_>>,
    ) -> Result<Resource<'a>, Error> {
        let Resource::Secret { name, owners: [_, ..] } = asked else { return Ok(asked) };
        for (action, run) in [(action, run), (Action::ReadSecret, None)] {
            if self.may(caller, action, asked, run).await? {
                return Ok(asked);
            }
        }
        Ok(unknown(name))
    }

    pub(super) async fn stored_secret(&self, name: &SecretName) -> Result<Option<Secret>, Error> {
        match &self.inner.secrets {
            Some(store) => store.get(name).await.map_err(Error::store("the secret store")),
            None => Ok(None),
        }
    }

    /// The secret of a name, for somebody who may do that to it.
    async fn known_secret(
        &self,
        caller: &Caller,
        action: Action,
        text: &str,
    ) -> Result<(Secret, Granted), Error> {
        let name = self.secret_name(caller, action, text).await?;
        let found = self.stored_secret(&name).await?;
        let asked = found.as_ref().map_or(unknown(&name), resource);
        let seen = self.as_seen(caller, action, asked, None).await?;
        let is_shown = seen == asked;
        let granted = self.authorize(caller, action, seen, None).await?;
        found.filter(|_| is_shown).map(|secret| (secret, granted)).ok_or_else(|| no_secret(&name))
    }

    /// A name that is one; who may do nothing of the kind is told that, and not what is wrong with it.
    async fn secret_name(&self, caller: &Caller, action: Action, text: &str) -> Result<SecretName, Error> {
        match text.parse() {
            Ok(name) => Ok(name),
            Err(error) => {
                let name = nameless();
                self.authorize_named(caller, (action, unknown(&name)), None, Some("secret:")).await?;
                Err(Error::parse("name")(error))
            }
        }
    }

    /// Whether somebody may neither read a secret nor use it, in a run of which nothing else is known.
    async fn is_hidden(&self, caller: &Caller, secret: &Secret) -> Result<bool, Error> {
        let wanted = [WantedSecret::of(secret)];
        let run = RunContext {
            secrets: &wanted,
            address: caller.context.address,
            hour: hour(self.inner.clock.now()),
            ..RunContext::default()
        };
        let asked = resource(secret);
        let is_known = self.may(caller, Action::ReadSecret, asked, None).await?
            || self.may(caller, Action::UseSecret, asked, Some(run)).await?;
        Ok(!is_known)
    }

    /// Denies a caller the name of a secret that is hidden from them, as a policy would that keeps the name from them.
    async fn refuse_hidden(&self, caller: &Caller, known: &Secret) -> Result<(), Error> {
        if !self.is_hidden(caller, known).await? {
            return Ok(());
        }
        let (action, resource) = (Action::CreateSecret, unknown(&known.name));
        self.append(self.event(caller, AuditKind::Denied, (action, resource), None)).await?;
        Err(Error::Denied { action, resource: resource.to_string(), policy: None, by_content: false })
    }

    /// What somebody is told whose name another secret got just before.
    async fn taken_meanwhile(&self, caller: &Caller, name: SecretName) -> Error {
        let refused = match self.stored_secret(&name).await {
            Ok(Some(known)) => self.refuse_hidden(caller, &known).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        refused.err().unwrap_or(Error::SecretExists { name })
    }

    pub(super) fn secret_store(&self) -> Result<&dyn SecretStore, Error> {
        self.inner.secrets.as_deref().ok_or_else(|| Error::invalid("name", NO_STORE))
    }
}

/// A secret as policies see it.
pub(super) fn resource(secret: &Secret) -> Resource<'_> {
    Resource::Secret { name: &secret.name, owners: &secret.owned_by }
}

/// A name that no secret has, or none that may be spoken of.
fn unknown(name: &SecretName) -> Resource<'_> {
    Resource::Secret { name, owners: &[] }
}

/// Stands for what is no name of a secret.
fn nameless() -> SecretName {
    #[expect(clippy::expect_used, reason = "a constant")]
    "-".parse().expect("a name")
}

fn no_secret(name: &SecretName) -> Error {
    Error::SecretNotFound { name: name.clone() }
}

/// What a run is told that names a secret which is not there, or of which its caller may know nothing.
pub(super) fn unknown_to_run(name: &SecretName, is_variable: bool) -> Error {
    Error::invalid(
        if is_variable { "secrets" } else { "git_token_secret" },
        format!("there is no secret `{name}`; `runvoy secrets list` shows those that you may read"),
    )
}
