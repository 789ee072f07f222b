use std::sync::Arc;

use async_trait::async_trait;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{KeyRecord, KeyStore, StoreError, User};

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
