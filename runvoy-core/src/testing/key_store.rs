//! What every [`KeyStore`] owes.

mod claims;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Subject;
use crate::id::{Email, RequestId, Role};
use crate::key::{ApiKey, HashedKey};
use crate::port::{KeyExpiry, KeyStore, NewClaim, StoreError, User};

pub use claims::*;

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
                users_are_listed_by_email
                who_is_invited_has_no_key_until_the_claim
                of_many_claims_of_a_token_one_wins
                a_token_that_lapsed_is_unknown
                a_token_that_was_used_is_told_from_an_unknown_one
                a_preset_key_waits_and_is_gone_after_the_claim
                a_preset_key_of_somebody_else_is_not_given
                an_invitation_overwrites_nobody_but_who_lapsed
                of_many_invitations_of_a_user_one_wins
                who_lapsed_is_dropped_and_nobody_else
                a_rotated_key_is_unknown_at_once
                of_many_rotations_the_last_token_alone_is_good
                a_rotation_keeps_the_expiry_unless_it_says_another
                a_rotation_of_nobody_is_not_found
                who_is_revoked_can_neither_claim_nor_rotate
                a_use_is_noted_and_never_goes_back;
            own:
                the_last_admin_stays
                of_two_admins_that_revoke_each_other_one_stays
                of_many_bootstraps_one_wins
                bootstrap_does_nothing_where_somebody_is
                users_and_revocations_survive_reopening
                claims_and_rotations_survive_reopening;
        }
    };
}

/// A user whom no other case knows.
pub fn some_user() -> User {
    let request = RequestId::random();
    User::new(
        format!("{request}@keys.test").parse().unwrap(),
        Role::Developer,
        "2026-01-02T03:04:05.678Z".parse().unwrap(),
        request,
    )
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

fn is_refused<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Refused { .. }))
}

/// Only another admin whose key is there, good and does not expire lets the last one go. Needs a store of its own.
pub async fn the_last_admin_stays(subject: Subject<dyn KeyStore>) {
    let store = subject.shared();
    let admin = || User { role: Role::Admin, ..some_user() };
    let (first, key, request) = (admin(), some_key(), RequestId::random());
    store.insert(first.clone(), key).await.unwrap();
    let expiring = User { key_expires_at: Some(later()), ..admin() };
    store.insert(expiring.clone(), some_key()).await.unwrap();
    let (invited, claim, token) = (admin(), some_claim(), some_claim().token);
    store.invite(invited.clone(), NewClaim { token, ..claim }, now()).await.unwrap();
    assert!(is_refused(&store.revoke(&first.email, request).await));
    assert!(is_refused(&store.rotate(&first.email, some_claim(), KeyExpiry::Keep, request).await));
    assert_eq!(found(&store, &key).await, Some(first.clone()), "nothing changed");

    store.claim(&token, some_key(), now(), request).await.unwrap();
    store.rotate(&first.email, some_claim(), KeyExpiry::Keep, request).await.unwrap();
    assert!(is_refused(&store.revoke(&invited.email, request).await));
    store.revoke(&expiring.email, request).await.unwrap();
}

/// Two admins who take each other's key at the same time leave one. Needs a store of its own.
pub async fn of_two_admins_that_revoke_each_other_one_stays(subject: Subject<dyn KeyStore>) {
    let store = subject.shared();
    let mut calls = JoinSet::new();
    let admins: Vec<_> = (0..8).map(|_| User { role: Role::Admin, ..some_user() }).collect();
    for admin in &admins {
        store.insert(admin.clone(), some_key()).await.unwrap();
    }
    for admin in admins {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.revoke(&admin.email, RequestId::random()).await });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| is_refused(result)).count(), 1);
    assert_eq!(store.list().await.unwrap().iter().filter(|user| !user.revoked).count(), 1);
}

async fn emails(store: &Store) -> Vec<Email> {
    store.list().await.unwrap().into_iter().map(|user| user.email).collect()
}
