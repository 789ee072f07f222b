//! Every account in memory, found by email, by key and by claim token.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use runvoy_core::claim::HashedToken;
use runvoy_core::id::Email;
use runvoy_core::key::HashedKey;
use runvoy_core::port::{Account, User};

/// Accounts and the two ways to them beside the email.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_email: BTreeMap<Email, Account>,
    keys: HashMap<HashedKey, Email>,
    tokens: HashMap<HashedToken, Email>,
}

impl Accounts {
    pub(crate) fn get(&self, email: &Email) -> Option<&Account> {
        self.by_email.get(email)
    }

    pub(crate) fn by_key(&self, key: &HashedKey) -> Option<&Account> {
        self.get(self.keys.get(key)?)
    }

    pub(crate) fn by_token(&self, token: &HashedToken) -> Option<&Account> {
        self.get(self.tokens.get(token)?)
    }

    /// Every user, by email.
    pub(crate) fn users(&self) -> impl Iterator<Item = &User> {
        self.by_email.values().map(|account| &account.user)
    }

    /// Puts an account in the place of the one that its user had.
    pub(crate) fn put(&mut self, account: Account) {
        let email = account.user.email.clone();
        self.remove(&email);
        self.keys.extend(account.key.map(|key| (key, email.clone())));
        self.tokens.extend(account.claim.as_ref().map(|claim| (claim.token, email.clone())));
        self.by_email.insert(email, account);
    }

    /// Notes that somebody was seen; unknown ones are ignored.
    pub(crate) fn seen(&mut self, email: &Email, at: Timestamp) {
        if let Some(account) = self.by_email.get_mut(email) {
            account.seen(at);
        }
    }

    pub(crate) fn remove(&mut self, email: &Email) {
        let Some(old) = self.by_email.remove(email) else { return };
        old.key.iter().for_each(|key| drop(self.keys.remove(key)));
        old.claim.iter().for_each(|claim| drop(self.tokens.remove(&claim.token)));
    }
}

impl FromIterator<Account> for Accounts {
    fn from_iter<I: IntoIterator<Item = Account>>(accounts: I) -> Self {
        accounts.into_iter().fold(Self::default(), |mut all, account| {
            all.put(account);
            all
        })
    }
}
