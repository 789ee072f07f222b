//! What every [`KeyStore`] owes.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Subject;
use crate::id::{Email, RequestId, Role};
use crate::key::{ApiKey, HashedKey};
use crate::port::{KeyStore, StoreError, User};

type Store = Arc<dyn KeyStore>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn KeyStore>` that answers a new, empty store.
#[macro_export]
macro_rules! key_store_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; key_store;
            shared:
                an_unknown_key_finds_nobody
                an_inserted_user_is_found_by_their_key
                a_user_who_exists_is_not_overwritten
                a_key_in_use_is_not_given_twice
                of_many_inserts_of_a_user_one_wins
                a_revocation_is_visible_at_once
                revoking_twice_answers_the_same
                revoking_nobody_is_not_found
                an_expired_key_is_still_found
                users_are_listed_by_email;
            own:
                of_many_bootstraps_one_wins
                bootstrap_does_nothing_where_somebody_is
                users_and_revocations_survive_reopening;
        }
    };
}

/// A user whom no other case knows.
pub fn some_user() -> User {
    let request = RequestId::random();
    User {
        email: format!("{request}@keys.test").parse().unwrap(),
        role: Role::Developer,
        created_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        revoked: false,
        key_expires_at: None,
        created_by_request_id: request,
        modified_by_request_id: request,
    }
}

fn some_key() -> HashedKey {
    ApiKey::generate().hash()
}

async fn found(store: &Store, key: &HashedKey) -> Option<User> {
    store.find(key).await.unwrap().map(|record| record.user)
}

/// A key that nobody has opens nothing.
pub async fn an_unknown_key_finds_nobody(store: &Store) {
    assert_eq!(found(store, &some_key()).await, None);
}

/// What was inserted is found, field by field.
pub async fn an_inserted_user_is_found_by_their_key(store: &Store) {
    for role in Role::ALL {
        let (user, key) = (User { role, ..some_user() }, some_key());
        store.insert(user.clone(), key).await.unwrap();
        assert_eq!(found(store, &key).await, Some(user));
    }
}

/// Inserting a user who exists is a conflict, and their key stays what it was.
pub async fn a_user_who_exists_is_not_overwritten(store: &Store) {
    let (user, key, other) = (some_user(), some_key(), some_key());
    store.insert(user.clone(), key).await.unwrap();
    let again = User { role: Role::Admin, ..user.clone() };
    let error = store.insert(again, other).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(found(store, &key).await, Some(user));
    assert_eq!(found(store, &other).await, None);
}

/// A key that is in use is a conflict, also a revoked one, and the second user is not there.
pub async fn a_key_in_use_is_not_given_twice(store: &Store) {
    let (user, second, key) = (some_user(), some_user(), some_key());
    store.insert(user.clone(), key).await.unwrap();
    let error = store.insert(second.clone(), key).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(found(store, &key).await, Some(user.clone()));
    store.revoke(&user.email, RequestId::random()).await.unwrap();
    assert!(store.insert(second.clone(), key).await.is_err());
    assert!(!emails(store).await.contains(&second.email));
}

/// Of many inserts of one user at once, one wins, and its key is the one that opens.
pub async fn of_many_inserts_of_a_user_one_wins(store: &Store) {
    let user = some_user();
    let mut inserts = JoinSet::new();
    for _ in 0..16 {
        let (store, user, key) = (Arc::clone(store), user.clone(), some_key());
        inserts.spawn(async move { (key, store.insert(user, key).await) });
    }
    let mut winners = 0;
    for (key, result) in inserts.join_all().await {
        winners += u32::from(result.is_ok());
        assert_eq!(found(store, &key).await.is_some(), result.is_ok());
        assert!(matches!(result, Ok(()) | Err(StoreError::Conflict { .. })), "{result:?}");
    }
    assert_eq!(winners, 1);
}

/// The next look sees a revocation; the user stays known.
pub async fn a_revocation_is_visible_at_once(store: &Store) {
    let (user, key, request) = (some_user(), some_key(), RequestId::random());
    store.insert(user.clone(), key).await.unwrap();
    let revoked = store.revoke(&user.email, request).await.unwrap();
    assert_eq!(revoked, User { revoked: true, modified_by_request_id: request, ..user });
    assert_eq!(found(store, &key).await, Some(revoked.clone()));
    assert!(store.list().await.unwrap().contains(&revoked));
}

/// The second revocation changes nothing.
pub async fn revoking_twice_answers_the_same(store: &Store) {
    let (user, key) = (some_user(), some_key());
    store.insert(user.clone(), key).await.unwrap();
    let first = store.revoke(&user.email, RequestId::random()).await.unwrap();
    let second = store.revoke(&user.email, RequestId::random()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(found(store, &key).await, Some(first));
}

/// Nobody cannot be revoked.
pub async fn revoking_nobody_is_not_found(store: &Store) {
    let error = store.revoke(&some_user().email, RequestId::random()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
}

/// Expiry is the caller's to judge: the record is found with its date.
pub async fn an_expired_key_is_still_found(store: &Store) {
    let expired: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let (user, key) = (User { key_expires_at: Some(expired), ..some_user() }, some_key());
    store.insert(user.clone(), key).await.unwrap();
    assert_eq!(found(store, &key).await, Some(user));
}

/// The list holds everybody, in order.
pub async fn users_are_listed_by_email(store: &Store) {
    let mut mine: Vec<User> = (0..5).map(|_| some_user()).collect();
    for user in &mine {
        store.insert(user.clone(), some_key()).await.unwrap();
    }
    let listed = store.list().await.unwrap();
    assert!(listed.is_sorted_by(|a, b| a.email < b.email));
    mine.sort_by(|a, b| a.email.cmp(&b.email));
    let seen: Vec<User> = listed.into_iter().filter(|user| mine.contains(user)).collect();
    assert_eq!(seen, mine);
}

/// Of many bootstraps of an empty store at once, exactly one inserts. Needs a store of its own.
pub async fn of_many_bootstraps_one_wins(subject: Subject<dyn KeyStore>) {
    let store = subject.shared();
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (store, user, key) = (Arc::clone(&store), some_user(), some_key());
        calls.spawn(async move { (user.email.clone(), key, store.bootstrap(user, key).await.unwrap()) });
    }
    let mut winner = None;
    for (email, key, won) in calls.join_all().await {
        assert_eq!(found(&store, &key).await.map(|user| user.email), won.then(|| email.clone()));
        if won {
            assert_eq!(winner.replace(email), None, "two first users");
        }
    }
    assert_eq!(emails(&store).await, [winner.expect("one is the first")]);
}

/// Bootstrap leaves a store with users alone, also where all of them are revoked. Needs a store of its own.
pub async fn bootstrap_does_nothing_where_somebody_is(subject: Subject<dyn KeyStore>) {
    let store = subject.shared();
    let user = some_user();
    store.insert(user.clone(), some_key()).await.unwrap();
    let key = some_key();
    assert!(!store.bootstrap(some_user(), key).await.unwrap());
    store.revoke(&user.email, RequestId::random()).await.unwrap();
    assert!(!store.bootstrap(some_user(), key).await.unwrap());
    assert_eq!(found(&store, &key).await, None);
    assert_eq!(emails(&store).await, [user.email]);
}

/// What was acknowledged is there after the store was closed and opened. Passes where nothing outlives the store.
pub async fn users_and_revocations_survive_reopening(subject: Subject<dyn KeyStore>) {
    let (user, revoked) = (some_user(), some_user());
    let keys = [some_key(), some_key()];
    subject.port().insert(user.clone(), keys[0]).await.unwrap();
    subject.port().insert(revoked.clone(), keys[1]).await.unwrap();
    let revoked = subject.port().revoke(&revoked.email, RequestId::random()).await.unwrap();
    let Some(subject) = subject.reopen() else { return };
    let store = subject.shared();
    assert_eq!(found(&store, &keys[0]).await, Some(user.clone()));
    assert_eq!(found(&store, &keys[1]).await, Some(revoked));
    assert!(!store.bootstrap(some_user(), some_key()).await.unwrap());
    assert!(matches!(store.insert(user, some_key()).await, Err(StoreError::Conflict { .. })));
}

async fn emails(store: &Store) -> Vec<Email> {
    store.list().await.unwrap().into_iter().map(|user| user.email).collect()
}
