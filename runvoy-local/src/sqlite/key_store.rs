use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{KeyRecord, KeyStore, StoreError, User};
use rusqlite::{Connection, OptionalExtension, Row};

use super::database::Database;
use super::error::Failure;
use super::execution_row::Columns;
use super::text;

const SELECT: &str = "SELECT email, role, created_at, revoked, key_expires_at, created_by_request_id,
    modified_by_request_id, key_sha256 FROM users";
const ONE: &str = "SELECT email, role, created_at, revoked, key_expires_at, created_by_request_id,
    modified_by_request_id, key_sha256 FROM users WHERE email = ?1";
const TAKEN: &str =
    "SELECT email FROM users WHERE email = ?1 OR key_sha256 = ?2 ORDER BY email = ?1 DESC LIMIT 1";
const INSERT: &str = "INSERT INTO users (email, role, key_sha256, created_at, revoked, key_expires_at,
    created_by_request_id, modified_by_request_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const REVOKE: &str = "UPDATE users SET revoked = 1, modified_by_request_id = ?2 WHERE email = ?1";

/// Users by the hash of their key.
pub(super) type Users = HashMap<HashedKey, User>;

/// Users and key hashes in the file, and all of them in memory: every request looks for one. The file has one
/// server, so the memory is right as long as it follows each commit, on the writing thread.
pub(super) struct SqliteKeyStore {
    database: Arc<Database>,
    users: Arc<RwLock<Users>>,
}

impl SqliteKeyStore {
    pub(super) fn new(database: Arc<Database>, users: Users) -> Self {
        Self { database, users: Arc::new(RwLock::new(users)) }
    }

    async fn put<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<(T, Option<(HashedKey, User)>), Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let users = Arc::clone(&self.users);
        let remember = move |(_, changed): &(T, Option<(HashedKey, User)>)| {
            if let Some((key, user)) = changed {
                users.write().unwrap_or_else(PoisonError::into_inner).insert(*key, user.clone());
            }
        };
        Ok(self.database.write_then(operation, remember).await?.0)
    }
}

/// Every user of the file.
pub(super) fn load(connection: &Connection) -> Result<Users, Failure> {
    let mut statement = connection.prepare(SELECT)?;
    let mut rows = statement.query([])?;
    let mut users = HashMap::new();
    while let Some(row) = rows.next()? {
        let (key, user) = read(row)?;
        users.insert(key, user);
    }
    Ok(users)
}

fn read(row: &Row<'_>) -> Result<(HashedKey, User), Failure> {
    let row = Columns(row);
    let user = User {
        email: row.parsed(0)?,
        role: row.parsed(1)?,
        created_at: row.time(2)?,
        revoked: row.number(3)? != 0,
        key_expires_at: row.maybe_time(4)?,
        created_by_request_id: row.parsed(5)?,
        modified_by_request_id: row.parsed(6)?,
    };
    let key = text::parse_hex(row.text(7)?).ok_or_else(|| Failure::unreadable("a key's hash is not hex"))?;
    Ok((HashedKey::from_bytes(key), user))
}

fn insert(connection: &Connection, user: &User, key: HashedKey) -> Result<(), Failure> {
    let hash = text::hex(key.as_bytes());
    let email = user.email.as_str();
    let taken: Option<String> =
        connection.prepare_cached(TAKEN)?.query_row((email, &hash), |row| row.get(0)).optional()?;
    if let Some(taken) = taken {
        let what = if taken == email { format!("user {email}") } else { "this API key".to_owned() };
        return Err(StoreError::conflict(what).into());
    }
    connection.prepare_cached(INSERT)?.execute((
        email,
        user.role.as_str(),
        &hash,
        text::time(user.created_at),
        user.revoked,
        user.key_expires_at.map(text::time),
        user.created_by_request_id.to_string(),
        user.modified_by_request_id.to_string(),
    ))?;
    Ok(())
}

fn revoke(connection: &Connection, email: &Email, request: RequestId) -> Result<(HashedKey, User), Failure> {
    let mut statement = connection.prepare_cached(ONE)?;
    let mut rows = statement.query([email.as_str()])?;
    let row = rows.next()?.ok_or_else(|| StoreError::not_found(format!("user {email}")))?;
    let (key, mut user) = read(row)?;
    drop(rows);
    if !user.revoked {
        user.revoked = true;
        user.modified_by_request_id = request;
        connection.prepare_cached(REVOKE)?.execute((email.as_str(), request.to_string()))?;
    }
    Ok((key, user))
}

#[async_trait]
impl KeyStore for SqliteKeyStore {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        Ok(users.get(key).map(|user| KeyRecord { user: user.clone() }))
    }

    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        self.put(move |connection| {
            insert(connection, &user, key)?;
            Ok(((), Some((key, user))))
        })
        .await
    }

    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        self.put(move |connection| {
            let somebody = "SELECT EXISTS (SELECT 1 FROM users)";
            if connection.query_row(somebody, [], |row| row.get(0))? {
                return Ok((false, None));
            }
            insert(connection, &user, key)?;
            Ok((true, Some((key, user))))
        })
        .await
    }

    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        let email = email.clone();
        self.put(move |connection| {
            let (key, user) = revoke(connection, &email, request)?;
            Ok((user.clone(), Some((key, user))))
        })
        .await
    }

    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        Ok(users.values().find(|user| user.email == *email).cloned())
    }

    async fn list(&self) -> Result<Vec<User>, StoreError> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let mut users: Vec<User> = users.values().cloned().collect();
        users.sort_by(|a, b| a.email.cmp(&b.email));
        Ok(users)
    }
}
