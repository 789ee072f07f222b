use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runvoy_core::id::{RequestId, SecretName};
use runvoy_core::limits;
use runvoy_core::port::{SecretCreated, SecretStore, StoreError};
use runvoy_core::secrets::{Secret, SecretChange, SecretValue};

type Secrets = BTreeMap<SecretName, (Secret, SecretValue)>;

/// Secrets that are kept as long as the process lives.
#[derive(Debug, Default)]
pub struct MemorySecretStore(Mutex<Secrets>);

impl MemorySecretStore {
    /// One without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret that was made by a request, and none that has its name meanwhile.
fn known<'a>(
    secrets: &'a mut Secrets,
    name: &SecretName,
    made_by: RequestId,
) -> Option<&'a mut (Secret, SecretValue)> {
    secrets.get_mut(name).filter(|(secret, _)| secret.created_by_request_id == made_by)
}

#[async_trait]
impl SecretStore for MemorySecretStore {
    async fn create(&self, secret: Secret, value: SecretValue) -> Result<SecretCreated, StoreError> {
        let mut secrets = self.secrets();
        let count = secrets.len();
        Ok(match secrets.entry(secret.name.clone()) {
            Entry::Occupied(_) => SecretCreated::Taken,
            Entry::Vacant(_) if count >= limits::STORED_SECRETS => SecretCreated::Full,
            Entry::Vacant(place) => {
                place.insert((secret, value));
                SecretCreated::Made
            }
        })
    }

    async fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError> {
        Ok(self.secrets().get(name).map(|(secret, _)| secret.clone()))
    }

    async fn list(&self) -> Result<Vec<Secret>, StoreError> {
        Ok(self.secrets().values().map(|(secret, _)| secret.clone()).collect())
    }

    async fn verify(&self) -> Result<Vec<SecretName>, StoreError> {
        // Nothing is sealed.
        Ok(Vec::new())
    }

    async fn reveal(
        &self,
        name: &SecretName,
        made_by: RequestId,
    ) -> Result<Option<(Secret, SecretValue)>, StoreError> {
        Ok(known(&mut self.secrets(), name, made_by).cloned())
    }

    async fn update(
        &self,
        name: &SecretName,
        made_by: RequestId,
        change: SecretChange,
    ) -> Result<Option<Secret>, StoreError> {
        let mut secrets = self.secrets();
        Ok(known(&mut secrets, name, made_by).map(|(secret, value)| {
            secret.apply(&change);
            if let Some(new) = change.value {
                *value = new;
            }
            secret.clone()
        }))
    }

    async fn delete(&self, name: &SecretName, made_by: RequestId) -> Result<Option<Secret>, StoreError> {
        let mut secrets = self.secrets();
        let is_it = known(&mut secrets, name, made_by).is_some();
        Ok(if is_it { secrets.remove(name).map(|(secret, _)| secret) } else { None })
    }
}
