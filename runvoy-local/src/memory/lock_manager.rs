use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::id::LockName;
use runvoy_core::locks::{LockAnswer, LockCommand, LockDocument, step};
use runvoy_core::port::{LockManager, StoreError};

type Documents = BTreeMap<LockName, Arc<LockDocument>>;

/// Locks that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryLockManager(Mutex<Documents>);

impl MemoryLockManager {
    /// One without locks.
    pub fn new() -> Self {
        Self::default()
    }

    fn documents(&self) -> MutexGuard<'_, Documents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LockManager for MemoryLockManager {
    async fn command(
        &self,
        name: &LockName,
        command: LockCommand,
        now: Timestamp,
    ) -> Result<LockAnswer, StoreError> {
        let mut documents = self.documents();
        let document = documents.entry(name.clone()).or_default();
        Ok(step(Arc::make_mut(document), &command, now))
    }

    async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError> {
        Ok(self.documents().get(name).cloned().unwrap_or_default())
    }

    async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError> {
        let documents = self.documents();
        let used = documents.iter().filter(|(_, lock)| !lock.is_free());
        Ok(used.map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect())
    }
}
