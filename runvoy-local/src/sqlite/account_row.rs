use runvoy_core::claim::{HashedToken, SealedKey};
use runvoy_core::id::Email;
use runvoy_core::key::HashedKey;
use runvoy_core::port::{Account, AccountClaim, KeyState, StoreError, User};
use rusqlite::{Connection, Params, Row};

use super::error::Failure;
use super::execution_row::Columns;
use super::text;
use crate::accounts::Accounts;

/// The columns, in the order of [`read`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT email, role, created_at, revoked, key_expires_at, created_by_request_id, \
             modified_by_request_id, key_sha256, last_used, claim_sha256, claim_until, claim_sealed_key, \
             never_claimed FROM users ",
            $rest
        )
    };
}

const ALL: &str = select!("");
pub(super) const BY_EMAIL: &str = select!("WHERE email = ?1");
pub(super) const BY_TOKEN: &str = select!("WHERE claim_sha256 = ?1");
pub(super) const BY_KEY: &str = select!("WHERE key_sha256 = ?1");

const WRITE: &str =
    "INSERT INTO users (email, role, created_at, revoked, key_expires_at, created_by_request_id,
    modified_by_request_id, key_sha256, last_used, claim_sha256, claim_until, claim_sealed_key, never_claimed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT (email) DO UPDATE SET role = excluded.role, created_at = excluded.created_at,
    revoked = excluded.revoked, key_expires_at = excluded.key_expires_at,
    created_by_request_id = excluded.created_by_request_id,
    modified_by_request_id = excluded.modified_by_request_id, key_sha256 = excluded.key_sha256,
    last_used = excluded.last_used, claim_sha256 = excluded.claim_sha256, claim_until = excluded.claim_until,
    claim_sealed_key = excluded.claim_sealed_key, never_claimed = excluded.never_claimed";
/// Narrows who has to be looked at: what makes a lasting admin, [`User::is_lasting_admin`] alone says.
const OTHER_ADMINS: &str = select!("WHERE email <> ?1 AND role = 'admin'");

/// Every account of the file.
pub(super) fn load(connection: &Connection) -> Result<Accounts, Failure> {
    Ok(every(connection, ALL, [])?.into_iter().collect())
}

fn every(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<Account>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        accounts.push(read(row)?);
    }
    Ok(accounts)
}

/// The one account that a query finds.
pub(super) fn one(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Option<Account>, Failure> {
    Ok(every(connection, sql, params)?.into_iter().next())
}

/// Whether the system could rely on somebody else.
pub(super) fn has_other_admin(connection: &Connection, email: &Email) -> Result<bool, Failure> {
    let others = every(connection, OTHER_ADMINS, [email.as_str()])?;
    Ok(others.iter().any(|account| account.user.is_lasting_admin()))
}

/// Writes an account in the place of the one that its user had. A key of somebody else is a conflict.
pub(super) fn write(connection: &Connection, account: &Account) -> Result<(), Failure> {
    let Account { user, key, claim } = account;
    if let Some(key) = key
        && let Some(holder) = one(connection, BY_KEY, [text::hex(key.as_bytes())])?
        && holder.user.email != user.email
    {
        return Err(StoreError::conflict("this API key").into());
    }
    let (until, never_claimed) = match user.key {
        KeyState::Held => (None, false),
        KeyState::Invited { until } => (Some(until), true),
        KeyState::Rotated { until } => (Some(until), false),
    };
    let sealed = claim.as_ref().and_then(|claim| claim.sealed.as_ref());
    connection.prepare_cached(WRITE)?.execute((
        user.email.as_str(),
        user.role.as_str(),
        text::time(user.created_at),
        user.revoked,
        user.key_expires_at.map(text::time),
        user.created_by_request_id.to_string(),
        user.modified_by_request_id.to_string(),
        key.map(|key| text::hex(key.as_bytes())),
        user.last_used.map(text::time),
        claim.as_ref().map(|claim| text::hex(claim.token.as_bytes())),
        until.map(text::time),
        sealed.map(SealedKey::as_bytes),
        never_claimed,
    ))?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Account, Failure> {
    let sealed: Option<Vec<u8>> = row.get(11)?;
    let row = Columns(row);
    let digest = |text: Option<String>| {
        let parse = |text: String| {
            text::parse_hex(&text).ok_or_else(|| Failure::unreadable("a hash of an account is not hex"))
        };
        text.map(parse).transpose()
    };
    let key = digest(row.0.get(7)?)?.map(HashedKey::from_bytes);
    let token = digest(row.0.get(9)?)?.map(HashedToken::from_bytes);
    let until = row.maybe_time(10)?;
    let state = match (until, row.number(12)? != 0) {
        (None, _) => KeyState::Held,
        (Some(until), true) => KeyState::Invited { until },
        (Some(until), false) => KeyState::Rotated { until },
    };
    let user = User {
        email: row.parsed(0)?,
        role: row.parsed(1)?,
        created_at: row.time(2)?,
        revoked: row.number(3)? != 0,
        key_expires_at: row.maybe_time(4)?,
        key: state,
        last_used: row.maybe_time(8)?,
        created_by_request_id: row.parsed(5)?,
        modified_by_request_id: row.parsed(6)?,
    };
    let claim = token.map(|token| AccountClaim {
        token,
        used: until.is_none(),
        sealed: sealed.map(SealedKey::from_bytes),
    });
    Ok(Account { user, key, claim })
}
