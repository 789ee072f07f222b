use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::account::{Account, ClaimOutcome, KeyExpiry, NewClaim, User};
use crate::claim::HashedToken;
use crate::id::{Email, RequestId};
use crate::key::HashedKey;

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Whose key it is.
    pub user: User,
}

/// Users, the hashes of their API keys and of their claim tokens.
///
/// # Contract
///
/// - Only hashes reach a store, and preset keys sealed: neither a key nor a claim token ever does.
/// - An account changes by the functions of [`Account`] and by nothing else; each method is one atomic step, of which
///   all or nothing happens.
/// - Inserting or inviting a user who exists is [`StoreError::Conflict`], revoked ones included, never an overwrite; so
///   is a key that is in use. Who was invited and [has lapsed](User::has_lapsed) is not there.
/// - [`bootstrap`](Self::bootstrap): of any number of calls at once, one inserts the first user.
/// - [`claim`](Self::claim): of any number of calls at once with one token, one is `Claimed`.
/// - [`revoke`](Self::revoke) and [`rotate`](Self::rotate) leave the system a
///   [lasting admin](User::is_lasting_admin), also of any number of calls at once: the last one's is
///   [`StoreError::Refused`].
/// - What was revoked, rotated or claimed is visible to the next [`find`](Self::find), wherever it is asked.
/// - A store that cannot be reached answers [`StoreError::Unavailable`], never "no such key".
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The user whose key has this hash, revoked ones and expired keys included; `None` if there is none.
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError>;

    /// Inserts a user with a key.
    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError>;

    /// Inserts a user with a key if there is no user at all, and says whether it did. Atomic.
    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError>;

    /// Inserts a user who is to fetch their key with a claim token. Takes the place of one who has lapsed.
    async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError>;

    /// The account that a claim token belongs to, also where it was used or has lapsed; a token that was replaced
    /// belongs to nobody.
    async fn pending(&self, token: &HashedToken) -> Result<Option<Account>, StoreError>;

    /// Uses a claim token: its user has this key from now on. [`StoreError::Conflict`] if the key is another's.
    async fn claim(
        &self,
        token: &HashedToken,
        key: HashedKey,
        now: Timestamp,
        request: RequestId,
    ) -> Result<ClaimOutcome, StoreError>;

    /// Takes a user's key back. Idempotent; [`StoreError::NotFound`] for an unknown user.
    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError>;

    /// Makes a user's key worthless and opens a claim token for the next one, which expires as `expiry` says.
    /// [`StoreError::NotFound`] for an unknown user, [`StoreError::Refused`] for a revoked one.
    async fn rotate(
        &self,
        email: &Email,
        claim: NewClaim,
        expiry: KeyExpiry,
        request: RequestId,
    ) -> Result<User, StoreError>;

    /// Notes when users were seen; unknown ones are ignored, and a time never goes back.
    async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError>;

    /// Removes those of these who have lapsed, and says whom.
    async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError>;

    /// A user, revoked and lapsed ones included.
    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError>;

    /// Every user, by email, revoked and lapsed ones included.
    async fn list(&self) -> Result<Vec<User>, StoreError>;
}
