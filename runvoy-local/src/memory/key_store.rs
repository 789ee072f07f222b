use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{KeyRecord, KeyStore, StoreError, User};

/// Users and key hashes that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryKeyStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<Email, User>,
    keys: HashMap<HashedKey, Email>,
}

impl MemoryKeyStore {
    /// A store without users.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, user: User, key: HashedKey) -> Result<(), StoreError> {
        if self.users.contains_key(&user.email) {
            return Err(StoreError::conflict(format!("user {}", user.email)));
        }
        if self.keys.contains_key(&key) {
            return Err(StoreError::conflict("this API key"));
        }
        self.keys.insert(key, user.email.clone());
        self.users.insert(user.email.clone(), user);
        Ok(())
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        let state = self.state();
        let user = state.keys.get(key).and_then(|email| state.users.get(email));
        Ok(user.map(|user| KeyRecord { user: user.clone() }))
    }

    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        self.state().insert(user, key)
    }

    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        let mut state = self.state();
        if !state.users.is_empty() {
            return Ok(false);
        }
        state.insert(user, key).map(|()| true)
    }

    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        let mut state = self.state();
        let user =
            state.users.get_mut(email).ok_or_else(|| StoreError::not_found(format!("user {email}")))?;
        if !user.revoked {
            user.revoked = true;
            user.modified_by_request_id = request;
        }
        Ok(user.clone())
    }

    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        Ok(self.state().users.get(email).cloned())
    }

    async fn list(&self) -> Result<Vec<User>, StoreError> {
        Ok(self.state().users.values().cloned().collect())
    }
}
