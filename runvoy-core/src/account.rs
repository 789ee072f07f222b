//! Somebody, their key and their claim token: what happens to them, as functions of one record.
//!
//! Stores keep accounts and change them by these functions and by nothing else, each in one atomic step.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claim::{HashedToken, SealedKey};
use crate::id::{Email, RequestId, Role};
use crate::key::HashedKey;
use crate::port::StoreError;

/// Somebody who may ask for things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub email: Email,
    /// What they may do, by default.
    pub role: Role,
    /// Since when they are known.
    pub created_at: Timestamp,
    /// Whether their key has been taken back.
    pub revoked: bool,
    /// When their key expires, if it does.
    pub key_expires_at: Option<Timestamp>,
    /// Whether they have a key.
    pub key: KeyState,
    /// When they were last seen, to the minute or so.
    pub last_used: Option<Timestamp>,
    /// The request that created them.
    pub created_by_request_id: RequestId,
    /// The request that last changed them.
    pub modified_by_request_id: RequestId,
}

/// Whether somebody has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// They have one.
    Held,
    /// They never had one. Nothing is left of them when the token lapses.
    Invited {
        /// When their claim token lapses.
        until: Timestamp,
    },
    /// The one they had was replaced, and they have not fetched the new one yet.
    Rotated {
        /// When their claim token lapses.
        until: Timestamp,
    },
}

impl User {
    /// Somebody with a key that does not expire.
    pub fn new(email: Email, role: Role, created_at: Timestamp, request: RequestId) -> Self {
        Self {
            email,
            role,
            created_at,
            revoked: false,
            key_expires_at: None,
            key: KeyState::Held,
            last_used: None,
            created_by_request_id: request,
            modified_by_request_id: request,
        }
    }

    /// Whether they never came for their key in time: then they are as good as not there.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        matches!(self.key, KeyState::Invited { until } if until <= now)
    }

    /// Whether they have a key whose time is over.
    pub fn has_expired_key(&self, now: Timestamp) -> bool {
        self.key == KeyState::Held && self.key_expires_at.is_some_and(|at| at <= now)
    }

    /// Whether the system can rely on them to be let in: an admin whose key is there, good and does not expire.
    pub fn is_lasting_admin(&self) -> bool {
        self.role == Role::Admin
            && !self.revoked
            && self.key == KeyState::Held
            && self.key_expires_at.is_none()
    }
}

/// When somebody's next key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExpiry {
    /// When the present one does, as the account has it in the moment of the change.
    Keep,
    /// At this time; never if there is none.
    Set(Option<Timestamp>),
}

/// A claim token as it is handed to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// Its hash.
    pub token: HashedToken,
    /// When it lapses.
    pub until: Timestamp,
    /// A key that was chosen for the user.
    pub sealed: Option<SealedKey>,
}

/// A claim token in an account. It stays when it was used, so that it can be told from an unknown one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountClaim {
    /// Its hash.
    pub token: HashedToken,
    /// Whether it was used.
    pub used: bool,
    /// A key that was chosen for the user, until it is fetched.
    pub sealed: Option<SealedKey>,
}

/// All that is kept of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub user: User,
    /// The hash of their key, revoked and expired ones too.
    pub key: Option<HashedKey>,
    /// Their last claim token.
    pub claim: Option<AccountClaim>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The key is theirs.
    Claimed(Box<User>),
    /// Somebody was there before.
    Used,
    /// There is no such token, or it has lapsed.
    Unknown,
}

impl Account {
    /// Somebody with a key.
    pub fn with_key(user: User, key: HashedKey) -> Self {
        Self { user: User { key: KeyState::Held, ..user }, key: Some(key), claim: None }
    }

    /// Somebody who is to fetch their first key.
    pub fn invited(user: User, claim: NewClaim) -> Self {
        let user = User { key: KeyState::Invited { until: claim.until }, ..user };
        Self { user, key: None, claim: Some(claim.into()) }
    }

    /// How their claim token would be answered now.
    pub fn claim_outcome(&self, now: Timestamp) -> ClaimOutcome {
        let until = match self.user.key {
            KeyState::Held => None,
            KeyState::Invited { until } | KeyState::Rotated { until } => Some(until),
        };
        match (&self.claim, until) {
            (Some(claim), _) if claim.used => ClaimOutcome::Used,
            (Some(_), Some(until)) if now < until && !self.user.revoked => {
                ClaimOutcome::Claimed(Box::new(self.user.clone()))
            }
            _ => ClaimOutcome::Unknown,
        }
    }

    /// Uses the claim token. Changes nothing unless the answer is [`ClaimOutcome::Claimed`].
    pub fn claim(&mut self, key: HashedKey, now: Timestamp, request: RequestId) -> ClaimOutcome {
        let outcome = self.claim_outcome(now);
        if !matches!(outcome, ClaimOutcome::Claimed(_)) {
            return outcome;
        }
        self.key = Some(key);
        self.user.key = KeyState::Held;
        self.user.modified_by_request_id = request;
        if let Some(claim) = &mut self.claim {
            claim.used = true;
            claim.sealed = None;
        }
        ClaimOutcome::Claimed(Box::new(self.user.clone()))
    }

    /// Takes the key back, and a claim token that is still open. `another` says whether there is another lasting admin.
    pub fn revoke(&mut self, another: bool, request: RequestId) -> Result<(), StoreError> {
        if self.user.revoked {
            return Ok(());
        }
        self.keep_an_admin(another)?;
        self.user.revoked = true;
        self.user.modified_by_request_id = request;
        self.claim = self.claim.take().filter(|claim| claim.used);
        Ok(())
    }

    /// Makes the key worthless and opens a claim token for the next one, which expires when `expiry` says.
    pub fn rotate(
        &mut self,
        claim: NewClaim,
        expiry: KeyExpiry,
        another: bool,
        request: RequestId,
    ) -> Result<(), StoreError> {
        if self.user.revoked {
            return Err(StoreError::refused(format!(
                "{} is revoked for good; create a user with another address",
                self.user.email
            )));
        }
        self.keep_an_admin(another)?;
        let until = claim.until;
        self.user.key = match self.user.key {
            KeyState::Invited { .. } => KeyState::Invited { until },
            KeyState::Held | KeyState::Rotated { .. } => KeyState::Rotated { until },
        };
        if let KeyExpiry::Set(at) = expiry {
            self.user.key_expires_at = at;
        }
        self.user.modified_by_request_id = request;
        self.key = None;
        self.claim = Some(claim.into());
        Ok(())
    }

    fn keep_an_admin(&self, another: bool) -> Result<(), StoreError> {
        if self.user.is_lasting_admin() && !another {
            let email = &self.user.email;
            return Err(StoreError::refused(format!(
                "{email} is the last admin with a key that does not expire, and without one nobody could get in; \
                 create another admin first, who claims the key"
            )));
        }
        Ok(())
    }

    /// Notes that they were seen. Never goes back.
    pub fn seen(&mut self, at: Timestamp) {
        self.user.last_used = self.user.last_used.max(Some(at));
    }
}

impl From<NewClaim> for AccountClaim {
    fn from(claim: NewClaim) -> Self {
        Self { token: claim.token, used: false, sealed: claim.sealed }
    }
}
