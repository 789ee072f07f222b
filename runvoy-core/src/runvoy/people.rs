//! People: who is known, who gets a key, who loses it.

use jiff::{SignedDuration, Timestamp};

use super::{Caller, Error, Runvoy};
use crate::api::{CreateUserRequest, RotateUserRequest};
use crate::claim::ClaimToken;
use crate::id::{Email, Role};
use crate::key::ApiKey;
use crate::limits;
use crate::port::{
    Account, Action, AuditEvent, AuditKind, KeyExpiry, NewClaim, Reach, Resource, StoreError, User,
};

/// Somebody who is to fetch a key.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Who.
    pub user: User,
    /// What they fetch it with, once.
    pub claim_token: ClaimToken,
    /// What the admin should know.
    pub warning: Option<&'static str>,
}

/// Commands that can read the keys make everybody who may run one an admin.
const ONE_TRUST_DOMAIN: &str = "commands run as the server's own user and can read its data: whoever may run one can do \
    whatever an admin can, so roles bind only the honest; see `--run-as`";

/// A user whom the request does not name, or not so that it can be read.
const SOMEBODY: &str = "user:?";

impl Runvoy {
    /// Everybody, by email; not who never came for their key.
    pub async fn users(&self, caller: &Caller) -> Result<Vec<User>, Error> {
        self.authorize(caller, Action::ListUsers, Resource::System, None).await?;
        self.known_users().await
    }

    /// Makes somebody known, who then fetches the key with a claim token.
    pub async fn create_user(
        &self,
        caller: &Caller,
        request: &CreateUserRequest,
    ) -> Result<Invitation, Error> {
        let email = self.addressee(caller, Action::CreateUser, &request.email).await?;
        let granted = self.authorize(caller, Action::CreateUser, Resource::User(&email), None).await?;
        let role: Role = request.role.parse().map_err(Error::parse("role"))?;
        let key_expires_at = self.expiry(request.expires_in)?;
        let token = ClaimToken::generate();
        let sealed = match request.api_key.as_deref() {
            None => None,
            Some(text) => Some(self.seal_preset(&token, text).await?),
        };
        let exists = || Error::Conflict { message: "user with this email already exists".to_owned() };
        if self.known(&email).await?.is_some() {
            return Err(exists());
        }
        let warning = self.warn_of_company(&email).await?;
        let intent = granted.event().clone();
        self.record(granted, None, Some(&shown_key(role, KeyExpiry::Set(key_expires_at)))).await?;
        let now = self.inner.clock.now();
        let until = after(now, limits::CLAIM_WINDOW.as_secs());
        let user = User { key_expires_at, ..User::new(email, role, now, caller.context.request_id) };
        let claim = NewClaim { token: token.hash(), until, sealed };
        let account = Account::invited(user.clone(), claim.clone());
        match self.inner.keys.invite(user, claim, now).await {
            Ok(()) => Ok(Invitation { user: account.user, claim_token: token, warning }),
            Err(StoreError::Conflict { .. }) => {
                let detail = Some("not made: somebody was there first".to_owned());
                self.append(AuditEvent { kind: AuditKind::Outcome, detail, ..intent }).await?;
                Err(exists())
            }
            Err(error) => Err(Error::store("the key store")(error)),
        }
    }

    /// Takes somebody's key back: their next request fails, and their open streams end. Idempotent.
    pub async fn revoke_user(&self, caller: &Caller, email: &str) -> Result<User, Error> {
        let email = self.addressee(caller, Action::RevokeUser, email).await?;
        let granted = self.authorize(caller, Action::RevokeUser, Resource::User(&email), None).await?;
        let user = self.known(&email).await?.ok_or_else(|| no_user(&email))?;
        if user.revoked {
            return Ok(user);
        }
        self.record(granted, None, None).await?;
        let (this, request) = (self.clone(), caller.context.request_id);
        self.although_the_caller_goes(async move {
            let revoked = this.inner.keys.revoke(&email, request).await;
            this.inner.key_changes.tell();
            revoked.map_err(refused(&email))
        })
        .await
    }

    /// Makes somebody's key worthless at once, and answers a claim token for the next one. It expires when the old one
    /// would have; to set another date is for those who may create the user.
    pub async fn rotate_user(
        &self,
        caller: &Caller,
        request: &RotateUserRequest,
    ) -> Result<Invitation, Error> {
        let email = self.addressee(caller, Action::RotateUser, &request.email).await?;
        let granted = self.authorize(caller, Action::RotateUser, Resource::User(&email), None).await?;
        let user = self.known(&email).await?.ok_or_else(|| no_user(&email))?;
        let now = self.inner.clock.now();
        let expiry = if request.expires_in.is_some() {
            self.authorize(caller, Action::CreateUser, Resource::User(&email), None).await?;
            KeyExpiry::Set(self.expiry(request.expires_in)?)
        } else if user.key_expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid(
                "expires_in",
                "the key has expired: an admin says until when the next is good",
            ));
        } else {
            KeyExpiry::Keep
        };
        self.record(granted, None, Some(&shown_key(user.role, expiry))).await?;
        let token = ClaimToken::generate();
        let until = after(now, limits::CLAIM_WINDOW.as_secs());
        let claim = NewClaim { token: token.hash(), until, sealed: None };
        let (this, request) = (self.clone(), caller.context.request_id);
        let rotate = async move {
            let rotated = this.inner.keys.rotate(&email, claim, expiry, request).await;
            this.inner.key_changes.tell();
            rotated.map_err(refused(&email))
        };
        let user = self.although_the_caller_goes(rotate).await?;
        Ok(Invitation { user, claim_token: token, warning: None })
    }

    /// Fails for a caller who may not do this to anybody, as far as that can be told without saying to whom: who may
    /// not do a thing is not told what is wrong with their request.
    pub async fn check_people(&self, caller: &Caller, action: Action) -> Result<(), Error> {
        // The caller stands for whoever was meant, and is not who a denial is about.
        let about = (action, Resource::User(&caller.user));
        self.authorize_named(caller, about, None, Some(SOMEBODY)).await.map(drop)
    }

    async fn addressee(&self, caller: &Caller, action: Action, email: &str) -> Result<Email, Error> {
        match email.parse() {
            Ok(email) => Ok(email),
            Err(error) => {
                self.check_people(caller, action).await?;
                Err(Error::parse("email")(error))
            }
        }
    }

    async fn seal_preset(&self, token: &ClaimToken, text: &str) -> Result<crate::claim::SealedKey, Error> {
        let key = ApiKey::parse(text).map_err(Error::parse("api_key"))?;
        let found = self.inner.keys.find(&key.hash()).await.map_err(Error::store("the key store"))?;
        if found.is_some() {
            return Err(Error::Conflict { message: "this API key is in use".to_owned() });
        }
        let unsealed = |error| Error::Internal { what: "a key was not sealed", source: Box::new(error) };
        token.seal(&key).map_err(unsealed)
    }

    fn expiry(&self, seconds: Option<u64>) -> Result<Option<Timestamp>, Error> {
        match seconds {
            Some(seconds) if !(1..=limits::KEY_SECONDS).contains(&seconds) => {
                let message = format!("1 to {} seconds, this is {seconds}", limits::KEY_SECONDS);
                Err(Error::invalid("expires_in", message))
            }
            other => Ok(other.map(|seconds| after(self.inner.clock.now(), seconds))),
        }
    }

    async fn known(&self, email: &Email) -> Result<Option<User>, Error> {
        let user = self.inner.keys.user(email).await.map_err(Error::store("the key store"))?;
        let now = self.inner.clock.now();
        Ok(user.filter(|user| !user.has_lapsed(now)))
    }

    async fn known_users(&self) -> Result<Vec<User>, Error> {
        let mut users = self.inner.keys.list().await.map_err(Error::store("the key store"))?;
        let now = self.inner.clock.now();
        users.retain(|user| !user.has_lapsed(now));
        for user in &mut users {
            self.inner.uses.complete(user);
        }
        Ok(users)
    }

    /// Whoever is no longer alone on a server that does not keep commands from its data should know.
    async fn warn_of_company(&self, new: &Email) -> Result<Option<&'static str>, Error> {
        if self.inner.executor.capabilities().reach != Reach::OneTrustDomain {
            return Ok(None);
        }
        let others = self.known_users().await?.into_iter().filter(|user| !user.revoked).count();
        if others != 1 {
            return Ok(None);
        }
        tracing::warn!(user = %new, "a second user: {ONE_TRUST_DOMAIN}");
        Ok(Some(ONE_TRUST_DOMAIN))
    }
}

fn after(now: Timestamp, seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    now.checked_add(seconds).unwrap_or(Timestamp::MAX)
}

fn no_user(email: &Email) -> Error {
    Error::NotFound { what: format!("user {email}") }
}

/// What a store says to a change of somebody.
fn refused(email: &Email) -> impl Fn(StoreError) -> Error {
    move |error| match error {
        StoreError::NotFound { .. } => no_user(email),
        StoreError::Refused { why } => Error::Conflict { message: why },
        other => Error::store("the key store")(other),
    }
}

/// What the audit log says of a key.
fn shown_key(role: Role, expiry: KeyExpiry) -> String {
    match expiry {
        KeyExpiry::Keep => format!("role {role}, a key as long as the one before"),
        KeyExpiry::Set(None) => format!("role {role}, a key that does not expire"),
        KeyExpiry::Set(Some(at)) => format!("role {role}, a key until {at}"),
    }
}
