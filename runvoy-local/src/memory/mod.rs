//! Every port in memory: nothing survives the process.

mod audit_log;
mod execution_store;
mod executor;
mod key_store;
mod log_source;

pub use audit_log::MemoryAuditLog;
pub use execution_store::MemoryExecutionStore;
pub use executor::{PendingTask, Script, ScriptedExecutor, TaskNumber};
pub use key_store::MemoryKeyStore;
pub use log_source::{MemoryLogWriter, MemoryLogs};
