//! Durable stores in one SQLite file.
//!
//! One thread writes: it takes what waits, commits it together, and answers only then. Two threads read. The file
//! belongs to one server at a time; anybody may look into it with the `sqlite3` command.

mod account_row;
mod audit_find;
mod audit_log;
mod audit_upgrade;
mod database;
mod error;
mod execution_row;
mod execution_store;
mod image_registry;
mod intake;
mod key_store;
mod listing;
mod lock_manager;
mod master_key;
mod open;
mod reseal;
mod schema;
mod seal;
mod secret_store;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use runvoy_core::port::{
    AuditLog, ExecutionStore, ImageRegistry, Intake, KeyStore, LockManager, SecretStore,
};

use audit_log::SqliteAuditLog;
use database::Database;
use execution_store::SqliteExecutionStore;
use image_registry::SqliteImageRegistry;
use intake::SqliteIntake;
use key_store::SqliteKeyStore;
use lock_manager::{InUse, SqliteLockManager};
use seal::Sealer;
use secret_store::SqliteSecretStore;

pub use master_key::{MasterKey, MasterKeyError};
pub use open::{OpenError, OpenProblem};
pub use reseal::{OnAuditProblem, ResealError, Resealed, reseal};
#[cfg(feature = "server")]
pub(crate) use {
    master_key::{remove_unfinished, sync_directory},
    open::{Fits, fits, knows_a_key},
};

/// Where the stores are, and the key that seals what is secret in them.
#[derive(Debug)]
pub struct SqliteConfig {
    /// The database file; made if it is not there. Its directory must exist. SQLite and the lock keep files of the
    /// same name and another ending beside it.
    pub path: PathBuf,
    /// The key; always the same one for the same file.
    pub master_key: MasterKey,
}

/// The stores of one SQLite file.
///
/// The file is closed when the last of them is dropped, which waits for what is being written.
#[derive(Clone)]
pub struct SqliteStores {
    keys: Arc<SqliteKeyStore>,
    executions: Arc<SqliteExecutionStore>,
    locks: Arc<SqliteLockManager>,
    images: Arc<SqliteImageRegistry>,
    secrets: Arc<SqliteSecretStore>,
    audit: Arc<SqliteAuditLog>,
    intake: Arc<SqliteIntake>,
}

impl SqliteStores {
    /// Opens the stores, makes the file if there is none, and brings an older one up to date.
    ///
    /// Reads the disk: a server does this once, before it serves.
    pub fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let SqliteConfig { path, master_key } = config;
        let sealer = Arc::new(Sealer::new(master_key));
        let opened = open::open(&path, &sealer);
        let started = opened.and_then(|(files, kept)| Ok((Database::start(files)?, kept)));
        let (database, kept) = started.map_err(|problem| OpenError { path, problem })?;
        let database = Arc::new(database);
        let in_use = InUse::new(kept.locks);
        Ok(Self {
            keys: Arc::new(SqliteKeyStore::new(Arc::clone(&database), kept.accounts)),
            executions: Arc::new(SqliteExecutionStore::new(Arc::clone(&database), Arc::clone(&sealer))),
            locks: Arc::new(SqliteLockManager::new(Arc::clone(&database), in_use.clone())),
            images: Arc::new(SqliteImageRegistry::new(Arc::clone(&database), kept.images)),
            secrets: Arc::new(SqliteSecretStore::new(Arc::clone(&database), Arc::clone(&sealer))),
            audit: Arc::new(SqliteAuditLog::new(Arc::clone(&database))),
            intake: Arc::new(SqliteIntake::new(database, sealer, in_use)),
        })
    }

    /// The users and their keys.
    pub fn key_store(&self) -> Arc<dyn KeyStore> {
        self.keys.clone()
    }

    /// The execution records.
    pub fn execution_store(&self) -> Arc<dyn ExecutionStore> {
        self.executions.clone()
    }

    /// The locks.
    pub fn lock_manager(&self) -> Arc<dyn LockManager> {
        self.locks.clone()
    }

    /// The registered images.
    pub fn image_registry(&self) -> Arc<dyn ImageRegistry> {
        self.images.clone()
    }

    /// The secrets.
    pub fn secret_store(&self) -> Arc<dyn SecretStore> {
        self.secrets.clone()
    }

    /// The audit log.
    pub fn audit_log(&self) -> Arc<dyn AuditLog> {
        self.audit.clone()
    }

    /// The audit log, the records and free locks in one step.
    pub fn intake(&self) -> Arc<dyn Intake> {
        self.intake.clone()
    }
}

impl fmt::Debug for SqliteStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStores").finish_non_exhaustive()
    }
}
