use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use runvoy_core::port::{AuditEvent, AuditLog, AuditRecord, StoreError};

/// An audit log that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryAuditLog(Mutex<Vec<AuditRecord>>);

impl MemoryAuditLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl AuditLog for MemoryAuditLog {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = records.len() as u64 + 1;
        records.push(AuditRecord { seq, event });
        Ok(seq)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(records.iter().skip(after).take(limit).cloned().collect())
    }
}
