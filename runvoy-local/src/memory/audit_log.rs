use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runvoy_core::audit::{self, AuditRecord, Checkpoint, Head};
use runvoy_core::port::{AuditEvent, AuditLog, StoreError};

/// An audit log that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryAuditLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: Vec<AuditRecord>,
    checkpoints: Vec<Checkpoint>,
}

impl Inner {
    fn head(&self) -> Head {
        self.records.last().map_or_else(Head::default, AuditRecord::head)
    }
}

impl MemoryAuditLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AuditLog for MemoryAuditLog {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let body = audit::body(&event).map_err(StoreError::unavailable)?;
        let mut inner = self.lock();
        let record = AuditRecord::after(&inner.head(), &body);
        let seq = record.seq;
        inner.records.push(record);
        Ok(seq)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(self.lock().records.iter().skip(after).take(limit).cloned().collect())
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.lock().head())
    }

    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.lock().checkpoints.push(checkpoint.clone());
        Ok(())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        Ok(self.lock().checkpoints.clone())
    }
}
