//! Every port in memory: nothing survives the process.

mod audit_log;
mod code_store;
mod execution_store;
mod executor;
mod image_registry;
mod key_store;
mod lock_manager;
mod log_source;
mod secret_store;
mod trace_log;

pub use audit_log::MemoryAuditLog;
pub use code_store::MemoryCodeStore;
pub use execution_store::MemoryExecutionStore;
pub use executor::{PendingTask, Script, ScriptedExecutor, TaskNumber};
pub use image_registry::MemoryImageRegistry;
pub use key_store::MemoryKeyStore;
pub use lock_manager::MemoryLockManager;
pub use log_source::{MemoryLogWriter, MemoryLogs};
pub use secret_store::MemorySecretStore;
pub use trace_log::MemoryTraceLog;

use std::sync::Arc;

use runvoy_core::{Builder, Runvoy};

/// A service whose users, records, locks, images, secrets, code and audit log are in memory; the executor, its logs and the authorizer
/// are still to be given.
pub fn stores() -> Builder {
    Runvoy::builder()
        .keys(Arc::new(MemoryKeyStore::default()))
        .executions(Arc::new(MemoryExecutionStore::default()))
        .locks(Arc::new(MemoryLockManager::default()))
        .images(Arc::new(MemoryImageRegistry::default()))
        .secrets(Arc::new(MemorySecretStore::default()))
        .code(Arc::new(MemoryCodeStore::default()))
        .audit(Arc::new(MemoryAuditLog::default()))
}
