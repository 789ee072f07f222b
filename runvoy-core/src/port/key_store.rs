use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::{Email, RequestId, Role};
use crate::key::HashedKey;

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
    /// The request that created them.
    pub created_by_request_id: RequestId,
    /// The request that last changed them.
    pub modified_by_request_id: RequestId,
}

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Whose key it is.
    pub user: User,
}

/// Users and the hashes of their API keys.
///
/// # Contract
///
/// - Only hashes reach a store: a key itself never does.
/// - Inserting a user who exists is [`StoreError::Conflict`], never an overwrite; so is a key that is in use.
/// - [`bootstrap`](Self::bootstrap) is atomic: of any number of calls at once, one inserts the first user.
/// - A revocation is visible to the next [`find`](Self::find), wherever it is asked.
/// - A store that cannot be reached answers [`StoreError::Unavailable`], never "no such key".
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The user whose key has this hash, revoked ones and expired keys included; `None` if there is none.
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError>;

    /// Inserts a user with a key.
    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError>;

    /// Inserts a user with a key if there is no user at all, and says whether it did. Atomic.
    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError>;

    /// Takes a user's key back. Idempotent; [`StoreError::NotFound`] for an unknown user.
    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError>;

    /// A user, revoked ones included.
    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError>;

    /// Every user, by email.
    async fn list(&self) -> Result<Vec<User>, StoreError>;
}
