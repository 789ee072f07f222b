use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::id::LockName;
use runvoy_core::locks::{LockAnswer, LockCommand, LockDocument, step};
use runvoy_core::port::{LockManager, StoreError};
use rusqlite::{Connection, OptionalExtension};

use super::database::Database;
use super::error::Failure;
use super::execution_row::Columns;

const GET: &str = "SELECT document FROM locks WHERE name = ?1";
const PUT: &str = "INSERT INTO locks (name, in_use, document) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET in_use = excluded.in_use, document = excluded.document";
const IN_USE: &str = "SELECT name, document FROM locks INDEXED BY locks_in_use WHERE in_use ORDER BY name";

/// Documents by name.
pub(super) type Documents = HashMap<LockName, Arc<LockDocument>>;

/// The locks in use, in memory: who waits looks often. The file has one server, so this is right as long as it follows
/// each commit, on the writing thread.
#[derive(Clone)]
pub(super) struct InUse(Arc<RwLock<Documents>>);

impl InUse {
    pub(super) fn new(documents: Documents) -> Self {
        Self(Arc::new(RwLock::new(documents)))
    }

    /// What a commit made of a lock.
    pub(super) fn follow(&self, name: &LockName, lock: &LockDocument) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if lock.is_free() {
            known.remove(name);
        } else {
            known.insert(name.clone(), Arc::new(lock.clone()));
        }
    }

    /// Whether a lock is held or waited for. What is committed right now may be missing.
    pub(super) fn has(&self, name: &LockName) -> bool {
        self.read().contains_key(name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Documents> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks in the file.
pub(super) struct SqliteLockManager {
    database: Arc<Database>,
    in_use: InUse,
}

impl SqliteLockManager {
    pub(super) fn new(database: Arc<Database>, in_use: InUse) -> Self {
        Self { database, in_use }
    }
}

/// Every lock that is in use.
pub(super) fn load(connection: &Connection) -> Result<Documents, Failure> {
    let mut statement = connection.prepare(IN_USE)?;
    let mut rows = statement.query([])?;
    let mut documents = HashMap::new();
    while let Some(row) = rows.next()? {
        let row = Columns(row);
        documents.insert(row.parsed(0)?, Arc::new(read(row.text(1)?)?));
    }
    Ok(documents)
}

fn read(document: &str) -> Result<LockDocument, Failure> {
    serde_json::from_str(document).map_err(Failure::unreadable)
}

pub(super) fn get(connection: &Connection, name: &LockName) -> Result<LockDocument, Failure> {
    let mut statement = connection.prepare_cached(GET)?;
    let document: Option<String> = statement.query_row([name.as_str()], |row| row.get(0)).optional()?;
    document.map_or_else(|| Ok(LockDocument::default()), |document| read(&document))
}

/// The answer, and the document if it changed.
fn command(
    connection: &Connection,
    name: &LockName,
    command: &LockCommand,
    now: Timestamp,
) -> Result<(LockAnswer, Option<LockDocument>), Failure> {
    let before = get(connection, name)?;
    let mut lock = before.clone();
    let answer = step(&mut lock, command, now);
    if lock == before {
        return Ok((answer, None));
    }
    put(connection, name, &lock)?;
    Ok((answer, Some(lock)))
}

pub(super) fn put(connection: &Connection, name: &LockName, lock: &LockDocument) -> Result<(), Failure> {
    let document = serde_json::to_string(lock).map_err(Failure::unreadable)?;
    connection.prepare_cached(PUT)?.execute((name.as_str(), !lock.is_free(), document))?;
    Ok(())
}

#[async_trait]
impl LockManager for SqliteLockManager {
    async fn command(
        &self,
        name: &LockName,
        asked: LockCommand,
        now: Timestamp,
    ) -> Result<LockAnswer, StoreError> {
        let (name, in_use) = (name.clone(), self.in_use.clone());
        let changed = name.clone();
        let follow = move |(_, lock): &(LockAnswer, Option<LockDocument>)| {
            if let Some(lock) = lock {
                in_use.follow(&changed, lock);
            }
        };
        let done =
            self.database.write_then(move |connection| command(connection, &name, &asked, now), follow);
        Ok(done.await?.0)
    }

    async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError> {
        let known = self.in_use.read().get(name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let name = name.clone();
        Ok(self.database.read(move |connection| get(connection, &name)).await.map(Arc::new)?)
    }

    async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError> {
        let known = self.in_use.read();
        let mut locks: Vec<_> = known.iter().map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect();
        locks.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(locks)
    }
}
