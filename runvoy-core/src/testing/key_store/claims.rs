//! Claim tokens and what becomes of keys.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{Store, found, some_key, some_user};
use crate::claim::ClaimToken;
use crate::id::RequestId;
use crate::key::ApiKey;
use crate::port::{ClaimOutcome, KeyExpiry, KeyState, KeyStore, NewClaim, StoreError, User};
use crate::testing::Subject;

/// The time at which these cases play.
pub(super) fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

/// When their claim tokens lapse.
pub(super) fn later() -> Timestamp {
    now() + Duration::from_mins(15)
}

/// A claim token without a preset key.
pub(super) fn some_claim() -> NewClaim {
    NewClaim { token: ClaimToken::generate().hash(), until: later(), sealed: None }
}

async fn claim(store: &Store, claim: &NewClaim, at: Timestamp) -> ClaimOutcome {
    store.claim(&claim.token, some_key(), at, RequestId::random()).await.unwrap()
}

/// A new user is listed, and is found by the key that the claim gives them, as they were invited.
pub async fn who_is_invited_has_no_key_until_the_claim(store: &Store) {
    let (user, claim, key, request) = (some_user(), some_claim(), some_key(), RequestId::random());
    store.invite(user.clone(), claim.clone(), now()).await.unwrap();
    let invited = User { key: KeyState::Invited { until: later() }, ..user.clone() };
    assert_eq!(store.user(&user.email).await.unwrap(), Some(invited.clone()));
    assert!(store.list().await.unwrap().contains(&invited));
    let pending = store.pending(&claim.token).await.unwrap().unwrap();
    assert_eq!((pending.user, pending.key), (invited, None));

    let claimed = User { modified_by_request_id: request, ..user };
    let outcome = store.claim(&claim.token, key, now(), request).await.unwrap();
    assert_eq!(outcome, ClaimOutcome::Claimed(Box::new(claimed.clone())));
    assert_eq!(found(store, &key).await, Some(claimed));
}

/// Of many claims of one token at once exactly one is answered, and its key is the one that opens.
pub async fn of_many_claims_of_a_token_one_wins(store: &Store) {
    let claim = some_claim();
    store.invite(some_user(), claim.clone(), now()).await.unwrap();
    let mut claims = JoinSet::new();
    for _ in 0..100 {
        let (store, token, key) = (Arc::clone(store), claim.token, some_key());
        claims
            .spawn(async move { (key, store.claim(&token, key, now(), RequestId::random()).await.unwrap()) });
    }
    let mut winners = 0;
    for (key, outcome) in claims.join_all().await {
        let won = matches!(outcome, ClaimOutcome::Claimed(_));
        winners += u32::from(won);
        assert!(won || outcome == ClaimOutcome::Used, "{outcome:?}");
        assert_eq!(found(store, &key).await.is_some(), won);
    }
    assert_eq!(winners, 1);
}

/// A token is good before its time is over, and not from then on.
pub async fn a_token_that_lapsed_is_unknown(store: &Store) {
    let (first, second) = (some_claim(), some_claim());
    store.invite(some_user(), first.clone(), now()).await.unwrap();
    store.invite(some_user(), second.clone(), now()).await.unwrap();
    assert_eq!(claim(store, &first, later()).await, ClaimOutcome::Unknown);
    let before = later() - Duration::from_millis(1);
    assert!(matches!(claim(store, &second, before).await, ClaimOutcome::Claimed(_)));
    assert_eq!(claim(store, &some_claim(), now()).await, ClaimOutcome::Unknown);
}

/// Who comes second is told so, also after the time is over; who was never invited is told something else.
pub async fn a_token_that_was_used_is_told_from_an_unknown_one(store: &Store) {
    let used = some_claim();
    store.invite(some_user(), used.clone(), now()).await.unwrap();
    claim(store, &used, now()).await;
    assert_eq!(claim(store, &used, now()).await, ClaimOutcome::Used);
    assert_eq!(claim(store, &used, later()).await, ClaimOutcome::Used);
    assert_eq!(store.pending(&some_claim().token).await.unwrap(), None);
}

/// A sealed key is kept as it came until it is fetched, and not longer.
pub async fn a_preset_key_waits_and_is_gone_after_the_claim(store: &Store) {
    let (token, key) = (ClaimToken::generate(), ApiKey::generate());
    let sealed = Some(token.seal(&key).unwrap());
    let new = NewClaim { token: token.hash(), until: later(), sealed: sealed.clone() };
    store.invite(some_user(), new.clone(), now()).await.unwrap();
    let waiting = async || store.pending(&new.token).await.unwrap().unwrap().claim.unwrap();
    assert_eq!(waiting().await.sealed, sealed);
    assert_eq!(found(store, &key.hash()).await, None, "it opens nothing yet");
    store.claim(&new.token, key.hash(), now(), RequestId::random()).await.unwrap();
    assert_eq!((waiting().await.sealed, waiting().await.used), (None, true));
    assert!(found(store, &key.hash()).await.is_some());
}

/// A key that came to be somebody else's meanwhile is a conflict, and the token stays open.
pub async fn a_preset_key_of_somebody_else_is_not_given(store: &Store) {
    let (user, new, key) = (some_user(), some_claim(), some_key());
    store.invite(some_user(), new.clone(), now()).await.unwrap();
    store.insert(user.clone(), key).await.unwrap();
    let result = store.claim(&new.token, key, now(), RequestId::random()).await;
    assert!(matches!(result, Err(StoreError::Conflict { .. })), "{result:?}");
    assert_eq!(found(store, &key).await, Some(user));
    assert!(matches!(claim(store, &new, now()).await, ClaimOutcome::Claimed(_)));
}

/// An invitation is a conflict for whoever is known, revoked or invited; not for one who never came for the key.
pub async fn an_invitation_overwrites_nobody_but_who_lapsed(store: &Store) {
    let (known, revoked, invited) = (some_user(), some_user(), some_user());
    store.insert(known.clone(), some_key()).await.unwrap();
    store.insert(revoked.clone(), some_key()).await.unwrap();
    store.revoke(&revoked.email, RequestId::random()).await.unwrap();
    let first = some_claim();
    store.invite(invited.clone(), first.clone(), now()).await.unwrap();
    for user in [&known, &revoked, &invited] {
        let again = store.invite(user.clone(), some_claim(), now()).await;
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    }
    let second = NewClaim { until: later() + Duration::from_mins(15), ..some_claim() };
    store.invite(invited.clone(), second.clone(), later()).await.unwrap();
    assert_eq!(claim(store, &first, now()).await, ClaimOutcome::Unknown);
    assert!(matches!(claim(store, &second, later()).await, ClaimOutcome::Claimed(_)));
}

/// Of many invitations of one user at once one wins, and its token alone is good.
pub async fn of_many_invitations_of_a_user_one_wins(store: &Store) {
    let user = some_user();
    let mut invitations = JoinSet::new();
    for _ in 0..16 {
        let (store, user, new) = (Arc::clone(store), user.clone(), some_claim());
        invitations.spawn(async move { (new.clone(), store.invite(user, new, now()).await.is_ok()) });
    }
    let mut winners = 0;
    for (new, won) in invitations.join_all().await {
        winners += u32::from(won);
        assert_eq!(store.pending(&new.token).await.unwrap().is_some(), won);
    }
    assert_eq!(winners, 1);
}

/// Those go who never had a key and whose token lapsed: not who has one, nor whose key was replaced, nor who was not
/// asked about.
pub async fn who_lapsed_is_dropped_and_nobody_else(store: &Store) {
    let [gone, came, in_time, rotated] = [(); 4].map(|()| some_user());
    let (gone_claim, came_claim) = (some_claim(), some_claim());
    store.invite(gone.clone(), gone_claim.clone(), now()).await.unwrap();
    store.invite(came.clone(), came_claim.clone(), now()).await.unwrap();
    claim(store, &came_claim, now()).await;
    let longer = NewClaim { until: later() + Duration::from_millis(1), ..some_claim() };
    store.invite(in_time.clone(), longer, now()).await.unwrap();
    store.insert(rotated.clone(), some_key()).await.unwrap();
    store.rotate(&rotated.email, some_claim(), KeyExpiry::Keep, RequestId::random()).await.unwrap();

    let other = some_user();
    store.invite(other.clone(), some_claim(), now()).await.unwrap();
    let asked = [&gone, &came, &in_time, &rotated, &some_user()].map(|user| user.email.clone());
    assert_eq!(store.drop_lapsed(&asked, later()).await.unwrap(), std::slice::from_ref(&gone.email));
    assert_eq!(store.user(&gone.email).await.unwrap(), None);
    assert_eq!(store.pending(&gone_claim.token).await.unwrap(), None);
    for user in [came, in_time, rotated, other] {
        assert!(store.user(&user.email).await.unwrap().is_some());
    }
    assert_eq!(store.drop_lapsed(&asked, later()).await.unwrap(), []);
}

/// The next look does not find the old key; the new one comes with the claim and expires when it was said to.
pub async fn a_rotated_key_is_unknown_at_once(store: &Store) {
    let (user, old, new, request) = (some_user(), some_key(), some_claim(), RequestId::random());
    store.insert(user.clone(), old).await.unwrap();
    let rotated =
        store.rotate(&user.email, new.clone(), KeyExpiry::Set(Some(later())), request).await.unwrap();
    let expected = User {
        key: KeyState::Rotated { until: later() },
        key_expires_at: Some(later()),
        modified_by_request_id: request,
        ..user
    };
    assert_eq!(rotated, expected);
    assert_eq!(found(store, &old).await, None);
    let key = some_key();
    store.claim(&new.token, key, now(), request).await.unwrap();
    assert_eq!(found(store, &key).await, Some(User { key: KeyState::Held, ..expected }));
    assert_eq!(found(store, &old).await, None);
}

/// Each rotation makes the tokens before it worthless, also of somebody who never had a key.
pub async fn of_many_rotations_the_last_token_alone_is_good(store: &Store) {
    let (user, first, second, third) = (some_user(), some_claim(), some_claim(), some_claim());
    store.invite(user.clone(), first.clone(), now()).await.unwrap();
    for new in [&second, &third] {
        let rotated =
            store.rotate(&user.email, new.clone(), KeyExpiry::Keep, RequestId::random()).await.unwrap();
        assert_eq!(rotated.key, KeyState::Invited { until: later() });
    }
    assert_eq!(claim(store, &first, now()).await, ClaimOutcome::Unknown);
    assert_eq!(claim(store, &second, now()).await, ClaimOutcome::Unknown);
    assert!(matches!(claim(store, &third, now()).await, ClaimOutcome::Claimed(_)));
}

/// A rotation that says nothing of the expiry leaves what the account has by then; one that does sets it, also to never.
pub async fn a_rotation_keeps_the_expiry_unless_it_says_another(store: &Store) {
    let user = User { key_expires_at: Some(now()), ..some_user() };
    store.insert(user.clone(), some_key()).await.unwrap();
    let rotated = async |expiry| {
        store.rotate(&user.email, some_claim(), expiry, RequestId::random()).await.unwrap().key_expires_at
    };
    assert_eq!(rotated(KeyExpiry::Set(Some(later()))).await, Some(later()));
    assert_eq!(rotated(KeyExpiry::Keep).await, Some(later()));
    assert_eq!(rotated(KeyExpiry::Set(None)).await, None);
    assert_eq!(rotated(KeyExpiry::Keep).await, None);
}

/// Nobody has no key to replace.
pub async fn a_rotation_of_nobody_is_not_found(store: &Store) {
    let result = store.rotate(&some_user().email, some_claim(), KeyExpiry::Keep, RequestId::random()).await;
    assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
}

/// A revocation closes an open token, and no rotation opens another.
pub async fn who_is_revoked_can_neither_claim_nor_rotate(store: &Store) {
    let (user, new, request) = (some_user(), some_claim(), RequestId::random());
    store.invite(user.clone(), new.clone(), now()).await.unwrap();
    store.revoke(&user.email, request).await.unwrap();
    assert_eq!(claim(store, &new, now()).await, ClaimOutcome::Unknown);
    let result = store.rotate(&user.email, some_claim(), KeyExpiry::Keep, request).await;
    assert!(matches!(result, Err(StoreError::Refused { .. })), "{result:?}");
}

/// The latest use stays, whatever comes after it; who is not known is no reason to fail.
pub async fn a_use_is_noted_and_never_goes_back(store: &Store) {
    let (user, key) = (some_user(), some_key());
    store.insert(user.clone(), key).await.unwrap();
    let seen = [(user.email.clone(), later()), (some_user().email, later())];
    store.note_uses(&seen).await.unwrap();
    store.note_uses(&[(user.email.clone(), now())]).await.unwrap();
    assert_eq!(found(store, &key).await, Some(User { last_used: Some(later()), ..user }));
}

/// What was acknowledged is there after the store was closed and opened. Passes where nothing outlives the store.
pub async fn claims_and_rotations_survive_reopening(subject: Subject<dyn KeyStore>) {
    let [open, used, rotated] = [(); 3].map(|()| some_user());
    let [open_claim, used_claim, rotated_claim] = [(); 3].map(|()| some_claim());
    let key = some_key();
    let store = subject.port();
    store.invite(open.clone(), open_claim.clone(), now()).await.unwrap();
    store.invite(used.clone(), used_claim.clone(), now()).await.unwrap();
    store.claim(&used_claim.token, key, now(), RequestId::random()).await.unwrap();
    store.note_uses(&[(used.email.clone(), later())]).await.unwrap();
    store.insert(rotated.clone(), some_key()).await.unwrap();
    store.rotate(&rotated.email, rotated_claim.clone(), KeyExpiry::Keep, RequestId::random()).await.unwrap();
    let before = store.list().await.unwrap();
    let Some(subject) = subject.reopen() else { return };
    let store = subject.shared();
    assert_eq!(store.list().await.unwrap(), before);
    assert_eq!(found(&store, &key).await.unwrap().last_used, Some(later()));
    assert_eq!(claim(&store, &used_claim, now()).await, ClaimOutcome::Used);
    assert!(matches!(claim(&store, &open_claim, now()).await, ClaimOutcome::Claimed(_)));
    assert!(matches!(claim(&store, &rotated_claim, now()).await, ClaimOutcome::Claimed(_)));
}
