//! Both kinds of stores against the suites of their ports.

#![allow(clippy::unused_async, clippy::unwrap_used, reason = "a maker of stores may wait; test code")]

#[cfg(feature = "memory")]
mod memory {
    use std::sync::Arc;

    use runvoy_core::port::{
        Apart, AuditLog, CodeStore, ExecutionStore, ImageRegistry, KeyStore, LockManager, SecretStore,
    };
    use runvoy_core::testing::{Subject, intake::Stores};
    use runvoy_local::memory::{
        MemoryAuditLog, MemoryCodeStore, MemoryExecutionStore, MemoryImageRegistry, MemoryKeyStore,
        MemoryLockManager, MemorySecretStore,
    };

    mod keys {
        use super::*;

        async fn make() -> Subject<dyn KeyStore> {
            Subject::new(Arc::new(MemoryKeyStore::new()))
        }
        runvoy_core::key_store_suite!(make);
    }

    mod executions {
        use super::*;

        async fn make() -> Subject<dyn ExecutionStore> {
            Subject::new(Arc::new(MemoryExecutionStore::new()))
        }
        runvoy_core::execution_store_suite!(make);
    }

    mod locks {
        use super::*;

        async fn make() -> Subject<dyn LockManager> {
            Subject::new(Arc::new(MemoryLockManager::new()))
        }
        runvoy_core::lock_manager_suite!(make);
    }

    mod images {
        use super::*;

        async fn make() -> Subject<dyn ImageRegistry> {
            Subject::new(Arc::new(MemoryImageRegistry::new()))
        }
        runvoy_core::image_registry_suite!(make);
    }

    mod secrets {
        use super::*;

        async fn make() -> Subject<dyn SecretStore> {
            Subject::new(Arc::new(MemorySecretStore::new()))
        }
        runvoy_core::secret_store_suite!(make);
    }

    mod code {
        use super::*;

        async fn make() -> Subject<dyn CodeStore> {
            Subject::new(Arc::new(MemoryCodeStore::new()))
        }
        runvoy_core::code_store_suite!(make);
    }

    mod audit {
        use super::*;

        async fn make() -> Subject<dyn AuditLog> {
            Subject::new(Arc::new(MemoryAuditLog::new()))
        }
        runvoy_core::audit_log_suite!(make);
    }

    mod intake {
        use super::*;

        async fn make() -> Subject<Stores> {
            let audit: Arc<dyn AuditLog> = Arc::new(MemoryAuditLog::new());
            let executions: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::new());
            let apart = Apart { audit: Arc::clone(&audit), executions: Arc::clone(&executions) };
            let locks = Arc::new(MemoryLockManager::new());
            Subject::new(Arc::new(Stores { intake: Arc::new(apart), audit, executions, locks }))
        }
        runvoy_core::intake_suite!(make);
    }
}

#[cfg(feature = "process")]
mod code_files {
    use std::path::Path;
    use std::sync::Arc;

    use runvoy_core::port::CodeStore;
    use runvoy_core::testing::Subject;
    use runvoy_local::code_files::CodeFiles;

    fn opened(directory: &Path) -> Subject<dyn CodeStore> {
        Subject::new(Arc::new(CodeFiles::open(directory, 0).unwrap()))
    }

    async fn make() -> Subject<dyn CodeStore> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code");
        opened(&path).reopened_by(move || opened(&path)).keeping(directory)
    }
    runvoy_core::code_store_suite!(make);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::path::Path;
    use std::sync::Arc;

    use runvoy_core::execution::LockUse;
    use runvoy_core::locks::WhenHeld;
    use runvoy_core::port::{
        AuditLog, ExecutionStore, ImageRegistry, KeyStore, LockManager, SecretStore, Taken,
    };
    use runvoy_core::state::Status;
    use runvoy_core::testing::execution_store::{new_execution, some_execution};
    use runvoy_core::testing::{Subject, intake::Stores};
    use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};

    /// A store in a directory of its own, which goes with it.
    fn subject<P: ?Sized + 'static>(part: fn(&SqliteStores) -> Arc<P>) -> Subject<P> {
        fn reopened<P: ?Sized + 'static>(directory: &Path, part: fn(&SqliteStores) -> Arc<P>) -> Subject<P> {
            let path = directory.join("runvoy.db");
            let master_key = MasterKey::load_or_create(&directory.join("master.key")).unwrap();
            Subject::new(part(&SqliteStores::open(SqliteConfig { path, master_key }).unwrap()))
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        reopened(&path, part).reopened_by(move || reopened(&path, part)).keeping(directory)
    }

    mod keys {
        use super::*;

        async fn make() -> Subject<dyn KeyStore> {
            subject(SqliteStores::key_store)
        }
        runvoy_core::key_store_suite!(make);
    }

    mod executions {
        use super::*;

        async fn make() -> Subject<dyn ExecutionStore> {
            subject(SqliteStores::execution_store)
        }
        runvoy_core::execution_store_suite!(make);
    }

    mod locks {
        use super::*;

        async fn make() -> Subject<dyn LockManager> {
            subject(SqliteStores::lock_manager)
        }
        runvoy_core::lock_manager_suite!(make);
    }

    mod images {
        use super::*;

        async fn make() -> Subject<dyn ImageRegistry> {
            subject(SqliteStores::image_registry)
        }
        runvoy_core::image_registry_suite!(make);
    }

    mod secrets {
        use super::*;

        async fn make() -> Subject<dyn SecretStore> {
            subject(SqliteStores::secret_store)
        }
        runvoy_core::secret_store_suite!(make);
    }

    mod audit {
        use super::*;

        async fn make() -> Subject<dyn AuditLog> {
            subject(SqliteStores::audit_log)
        }
        runvoy_core::audit_log_suite!(make);
    }

    mod intake {
        use super::*;

        async fn make() -> Subject<Stores> {
            subject(|stores| {
                let (audit, executions) = (stores.audit_log(), stores.execution_store());
                let locks = stores.lock_manager();
                Arc::new(Stores { intake: stores.intake(), audit, executions, locks })
            })
        }
        runvoy_core::intake_suite!(make);

        /// One commit for decision, record and lock: what the suite leaves to each, this one does.
        #[tokio::test]
        async fn a_free_lock_is_granted_at_once() {
            let stores = make().await;
            let mut new = new_execution(some_execution());
            new.record.status = Status::Queued;
            new.record.lock = Some(LockUse::wanted("db".parse().unwrap(), WhenHeld::Fail, 60));
            let Taken::New(record) = stores.port().intake.take_in(Vec::new(), new).await.unwrap() else {
                panic!("it is new")
            };
            assert_eq!(record.status, Status::Starting);
            assert_eq!(record.lock.unwrap().token, Some(1));
        }
    }
}
