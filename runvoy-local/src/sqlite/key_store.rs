use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::claim::HashedToken;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{Account, ClaimOutcome, KeyExpiry, KeyRecord, KeyStore, NewClaim, StoreError, User};
use rusqlite::Connection;

use super::account_row::{BY_EMAIL, BY_TOKEN, has_other_admin, one, write};
use super::database::Database;
use super::error::Failure;
use super::text;
use crate::accounts::Accounts;

const SOMEBODY: &str = "SELECT EXISTS (SELECT 1 FROM users)";
const SEEN: &str = "UPDATE users SET last_used = max(coalesce(last_used, ?2), ?2) WHERE email = ?1";
const DELETE: &str = "DELETE FROM users WHERE email = ?1";

/// Accounts in the file, and all of them in memory: every request looks for one. The file has one server, so the memory
/// is right as long as it follows each commit, on the writing thread.
pub(super) struct SqliteKeyStore {
    database: Arc<Database>,
    accounts: Arc<RwLock<Accounts>>,
}

impl SqliteKeyStore {
    pub(super) fn new(database: Arc<Database>, accounts: Accounts) -> Self {
        Self { database, accounts: Arc::new(RwLock::new(accounts)) }
    }

    fn accounts(&self) -> RwLockReadGuard<'_, Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `operation` in the next commit, and then `follow` to the memory.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        follow: impl FnOnce(&mut Accounts, &T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let accounts = Arc::clone(&self.accounts);
        let remember = move |done: &T| {
            follow(&mut accounts.write().unwrap_or_else(PoisonError::into_inner), done);
        };
        Ok(self.database.write_then(operation, remember).await?)
    }

    /// Does `operation`, whose account is written in the place of the one that its user had.
    async fn put<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<(T, Option<Account>), Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = move |connection: &Connection| {
            let (answer, account) = operation(connection)?;
            account.iter().try_for_each(|account| write(connection, account))?;
            Ok((answer, account))
        };
        let follow = |accounts: &mut Accounts, (_, account): &(T, Option<Account>)| {
            if let Some(account) = account {
                accounts.put(account.clone());
            }
        };
        Ok(self.write(written, follow).await?.0)
    }

    /// Changes an account, or leaves it as it was.
    async fn change(
        &self,
        email: &Email,
        change: impl FnOnce(&mut Account, bool) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<User, StoreError> {
        let email = email.clone();
        self.put(move |connection| {
            let found = one(connection, BY_EMAIL, [email.as_str()])?;
            let mut account = found.ok_or_else(|| StoreError::not_found(format!("user {email}")))?;
            let before = account.clone();
            change(&mut account, has_other_admin(connection, &email)?)?;
            Ok((account.user.clone(), (account != before).then_some(account)))
        })
        .await
    }
}

fn new_account(connection: &Connection, user: User, key: HashedKey) -> Result<Account, Failure> {
    if one(connection, BY_EMAIL, [user.email.as_str()])?.is_some() {
        return Err(StoreError::conflict(format!("user {}", user.email)).into());
    }
    Ok(Account::with_key(user, key))
}

#[async_trait]
impl KeyStore for SqliteKeyStore {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.accounts().by_key(key).map(|account| KeyRecord { user: account.user.clone() }))
    }

    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        self.put(move |connection| Ok(((), Some(new_account(connection, user, key)?)))).await
    }

    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        self.put(move |connection| {
            if connection.query_row(SOMEBODY, [], |row| row.get(0))? {
                return Ok((false, None));
            }
            Ok((true, Some(new_account(connection, user, key)?)))
        })
        .await
    }

    async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        self.put(move |connection| {
            let found = one(connection, BY_EMAIL, [user.email.as_str()])?;
            if found.is_some_and(|account| !account.user.has_lapsed(now)) {
                return Err(StoreError::conflict(format!("user {}", user.email)).into());
            }
            Ok(((), Some(Account::invited(user, claim))))
        })
        .await
    }

    async fn pending(&self, token: &HashedToken) -> Result<Option<Account>, StoreError> {
        Ok(self.accounts().by_token(token).cloned())
    }

    async fn claim(
        &self,
        token: &HashedToken,
        key: HashedKey,
        now: Timestamp,
        request: RequestId,
    ) -> Result<ClaimOutcome, StoreError> {
        let token = text::hex(token.as_bytes());
        self.put(move |connection| {
            let Some(mut account) = one(connection, BY_TOKEN, [token])? else {
                return Ok((ClaimOutcome::Unknown, None));
            };
            let outcome = account.claim(key, now, request);
            let is_claimed = matches!(outcome, ClaimOutcome::Claimed(_));
            Ok((outcome, is_claimed.then_some(account)))
        })
        .await
    }

    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        self.change(email, move |account, another| account.revoke(another, request)).await
    }

    async fn rotate(
        &self,
        email: &Email,
        claim: NewClaim,
        expiry: KeyExpiry,
        request: RequestId,
    ) -> Result<User, StoreError> {
        self.change(email, move |account, another| account.rotate(claim, expiry, another, request)).await
    }

    async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError> {
        let uses = uses.to_vec();
        let operation = move |connection: &Connection| {
            let mut update = connection.prepare_cached(SEEN)?;
            for (email, at) in &uses {
                update.execute((email.as_str(), text::time(*at)))?;
            }
            drop(update);
            Ok(uses)
        };
        let follow = |accounts: &mut Accounts, uses: &Vec<(Email, Timestamp)>| {
            for (email, at) in uses {
                accounts.seen(email, *at);
            }
        };
        self.write(operation, follow).await.map(drop)
    }

    async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError> {
        let who = who.to_vec();
        let operation = move |connection: &Connection| {
            let mut dropped = Vec::new();
            for email in who {
                let account = one(connection, BY_EMAIL, [email.as_str()])?;
                if account.is_some_and(|account| account.user.has_lapsed(now)) {
                    connection.prepare_cached(DELETE)?.execute([email.as_str()])?;
                    dropped.push(email);
                }
            }
            Ok(dropped)
        };
        let follow = |accounts: &mut Accounts, emails: &Vec<Email>| {
            for email in emails {
                accounts.remove(email);
            }
        };
        self.write(operation, follow).await
    }

    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        Ok(self.accounts().get(email).map(|account| account.user.clone()))
    }

    async fn list(&self) -> Result<Vec<User>, StoreError> {
        Ok(self.accounts().users().cloned().collect())
    }
}
