use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::claim::HashedToken;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{Account, ClaimOutcome, KeyExpiry, KeyRecord, KeyStore, NewClaim, StoreError, User};

/// A key store with one more key, which lives as long as this process and is stored nowhere.
///
/// For a front-end that is server and client in one: it need not keep a key to speak to itself.
pub(crate) struct WithGuest {
    pub(crate) inner: Arc<dyn KeyStore>,
    pub(crate) user: User,
    pub(crate) key: HashedKey,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyStore for WithGuest {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        if *key == self.key {
            return Ok(Some(KeyRecord { user: self.user.clone() }));
        }
        self.inner.find(key).await
    }

    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        self.inner.insert(user, key).await
    }

    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        self.inner.bootstrap(user, key).await
    }

    async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        self.inner.invite(user, claim, now).await
    }

    async fn pending(&self, token: &HashedToken) -> Result<Option<Account>, StoreError> {
        self.inner.pending(token).await
    }

    async fn claim(
        &self,
        token: &HashedToken,
        key: HashedKey,
        now: Timestamp,
        request: RequestId,
    ) -> Result<ClaimOutcome, StoreError> {
        self.inner.claim(token, key, now, request).await
    }

    async fn rotate(
        &self,
        email: &Email,
        claim: NewClaim,
        expiry: KeyExpiry,
        request: RequestId,
    ) -> Result<User, StoreError> {
        self.inner.rotate(email, claim, expiry, request).await
    }

    async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError> {
        self.inner.note_uses(uses).await
    }

    async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError> {
        self.inner.drop_lapsed(who, now).await
    }

    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        self.inner.revoke(email, request).await
    }

    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        if *email == self.user.email {
            return Ok(Some(self.user.clone()));
        }
        self.inner.user(email).await
    }

    async fn list(&self) -> Result<Vec<User>, StoreError> {
        self.inner.list().await
    }
}
