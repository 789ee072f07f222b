use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::claim::HashedToken;
use runvoy_core::id::{Email, RequestId};
use runvoy_core::key::HashedKey;
use runvoy_core::port::{Account, ClaimOutcome, KeyExpiry, KeyRecord, KeyStore, NewClaim, StoreError, User};

use crate::accounts::Accounts;

/// Users and key hashes that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryKeyStore(Mutex<Accounts>);

impl MemoryKeyStore {
    /// A store without users.
    pub fn new() -> Self {
        Self::default()
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an account, or leaves it as it was.
    fn change(
        &self,
        email: &Email,
        change: impl FnOnce(&mut Account, bool) -> Result<(), StoreError>,
    ) -> Result<User, StoreError> {
        let mut accounts = self.accounts();
        let account = accounts.get(email).ok_or_else(|| StoreError::not_found(format!("user {email}")))?;
        let mut account = account.clone();
        let another = accounts.users().any(|user| user.email != *email && user.is_lasting_admin());
        change(&mut account, another)?;
        accounts.put(account.clone());
        Ok(account.user)
    }
}

fn insert(accounts: &mut Accounts, user: User, key: HashedKey) -> Result<(), StoreError> {
    if accounts.get(&user.email).is_some() {
        return Err(StoreError::conflict(format!("user {}", user.email)));
    }
    if accounts.by_key(&key).is_some() {
        return Err(StoreError::conflict("this API key"));
    }
    accounts.put(Account::with_key(user, key));
    Ok(())
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, key: &HashedKey) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.accounts().by_key(key).map(|account| KeyRecord { user: account.user.clone() }))
    }

    async fn insert(&self, user: User, key: HashedKey) -> Result<(), StoreError> {
        insert(&mut self.accounts(), user, key)
    }

    async fn bootstrap(&self, user: User, key: HashedKey) -> Result<bool, StoreError> {
        let mut accounts = self.accounts();
        if accounts.users().next().is_some() {
            return Ok(false);
        }
        insert(&mut accounts, user, key).map(|()| true)
    }

    async fn invite(&self, user: User, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        let mut accounts = self.accounts();
        if accounts.get(&user.email).is_some_and(|account| !account.user.has_lapsed(now)) {
            return Err(StoreError::conflict(format!("user {}", user.email)));
        }
        accounts.put(Account::invited(user, claim));
        Ok(())
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
        let mut accounts = self.accounts();
        let Some(mut account) = accounts.by_token(token).cloned() else { return Ok(ClaimOutcome::Unknown) };
        let outcome = account.claim(key, now, request);
        if matches!(outcome, ClaimOutcome::Claimed(_)) {
            if accounts.by_key(&key).is_some() {
                return Err(StoreError::conflict("this API key"));
            }
            accounts.put(account);
        }
        Ok(outcome)
    }

    async fn revoke(&self, email: &Email, request: RequestId) -> Result<User, StoreError> {
        self.change(email, |account, another| account.revoke(another, request))
    }

    async fn rotate(
        &self,
        email: &Email,
        claim: NewClaim,
        expiry: KeyExpiry,
        request: RequestId,
    ) -> Result<User, StoreError> {
        self.change(email, |account, another| account.rotate(claim, expiry, another, request))
    }

    async fn note_uses(&self, uses: &[(Email, Timestamp)]) -> Result<(), StoreError> {
        let mut accounts = self.accounts();
        for (email, at) in uses {
            accounts.seen(email, *at);
        }
        Ok(())
    }

    async fn drop_lapsed(&self, who: &[Email], now: Timestamp) -> Result<Vec<Email>, StoreError> {
        let mut accounts = self.accounts();
        let has_lapsed = |email: &&Email| accounts.get(email).is_some_and(|it| it.user.has_lapsed(now));
        let lapsed: Vec<_> = who.iter().filter(has_lapsed).cloned().collect();
        for email in &lapsed {
            accounts.remove(email);
        }
        Ok(lapsed)
    }

    async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        Ok(self.accounts().get(email).map(|account| account.user.clone()))
    }

    async fn list(&self) -> Result<Vec<User>, StoreError> {
        Ok(self.accounts().users().cloned().collect())
    }
}
