use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Store, after_noon, created, keyed, new_execution, run_to_the_end, some_checkout, some_execution,
    some_request,
};
use crate::code::Code;
use crate::execution::{Execution, LogSummary, Patch, StopOrder, TaskHandle};
use crate::id::ExecutionId;
use crate::port::{Created, Idempotency, LiveLimits, LiveScope, NewExecution, StoreError};
use crate::state::{Reason, Status, allows};

fn limited(record: Execution, server: Option<u64>, user: Option<u64>) -> NewExecution {
    NewExecution { limits: LiveLimits { server, user }, ..new_execution(record) }
}

fn existing(record: &Execution) -> Created {
    Created::Existing(Box::new(record.clone()))
}

/// A record is found as it was, with all that may be in it.
pub async fn a_created_record_reads_back(store: &Store) {
    let bare = created(store, some_execution()).await;
    assert_eq!(store.get(bare.id).await.unwrap(), Some(bare.clone()));
    let user = bare.created_by.clone();
    let full = Execution {
        owned_by: vec!["first@owners.test".parse().unwrap(), user.clone()],
        image_id: Some("alpine:3".to_owned()),
        image_digest: Some("sha256:00".to_owned()),
        status_detail: Some("a detail".to_owned()),
        exit_code: Some(143),
        started_at: Some(after_noon(1)),
        completed_at: Some(after_noon(2)),
        timeout: 0,
        task: Some(TaskHandle("handle/7".to_owned())),
        stop: Some(StopOrder { by: user, at: after_noon(3), grace: Some(5) }),
        log: Some(LogSummary { events: 1, bytes: 1 << 40, replacements: 0, hash: "blake3:00".to_owned() }),
        code: Some(Code::Git(some_checkout())),
        ..some_execution()
    };
    let full = created(store, full).await;
    assert_eq!(store.get(full.id).await.unwrap(), Some(full.clone()));
    assert_eq!(store.request(full.id).await.unwrap(), Some(some_request()));
}

/// What nobody created is not there.
pub async fn an_unknown_id_is_not_there(store: &Store) {
    assert_eq!(store.get(ExecutionId::random()).await.unwrap(), None);
    assert_eq!(store.request(ExecutionId::random()).await.unwrap(), None);
}

/// A second record of the same id is a conflict, and the first stays.
pub async fn an_id_is_taken_once(store: &Store) {
    let first = created(store, some_execution()).await;
    let second = Execution { id: first.id, ..some_execution() };
    let error = store.create(new_execution(second)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(store.get(first.id).await.unwrap(), Some(first));
}

/// A record begins where the state machine begins, and nowhere else.
pub async fn only_first_steps_create(store: &Store) {
    for status in Status::ALL {
        for reason in [None, Some(Reason::LockHeld), Some(Reason::Exited)] {
            let record = Execution { status, status_reason: reason, ..some_execution() };
            let (id, result) = (record.id, store.create(new_execution(record)).await);
            if allows(None, status, reason) {
                assert_eq!(result.unwrap(), Created::New);
            } else {
                assert!(matches!(result, Err(StoreError::Invalid { .. })), "{status} {reason:?}: {result:?}");
                assert_eq!(store.get(id).await.unwrap(), None);
            }
        }
    }
}

/// The same key with the same request answers the first record, as it is by now.
pub async fn a_repeated_key_answers_the_first_record(store: &Store) {
    let first = some_execution();
    assert_eq!(store.create(keyed(first.clone(), "k", 1)).await.unwrap(), Created::New);
    let again = Execution { id: ExecutionId::random(), ..first.clone() };
    assert_eq!(store.create(keyed(again.clone(), "k", 1)).await.unwrap(), existing(&first));
    assert_eq!(store.get(again.id).await.unwrap(), None);
    run_to_the_end(store, first.id).await;
    let now = store.get(first.id).await.unwrap().unwrap();
    assert_eq!(store.create(keyed(again, "k", 1)).await.unwrap(), existing(&now));
}

/// The same key with another request is a conflict; nothing is recorded, and the key stays what it was.
pub async fn a_key_with_another_request_is_a_conflict(store: &Store) {
    let first = some_execution();
    store.create(keyed(first.clone(), "k", 1)).await.unwrap();
    let other = Execution { id: ExecutionId::random(), ..first.clone() };
    let error = store.create(keyed(other.clone(), "k", 2)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(store.get(other.id).await.unwrap(), None);
    assert_eq!(store.create(keyed(other, "k", 1)).await.unwrap(), existing(&first));
}

/// Keys of different users have nothing to do with each other, nor have different keys of one user.
pub async fn a_key_belongs_to_its_user(store: &Store) {
    let first = some_execution();
    assert_eq!(store.create(keyed(first.clone(), "k", 1)).await.unwrap(), Created::New);
    assert_eq!(store.create(keyed(some_execution(), "k", 2)).await.unwrap(), Created::New);
    let second = Execution { id: ExecutionId::random(), ..first };
    assert_eq!(store.create(keyed(second, "K", 1)).await.unwrap(), Created::New);
}

/// A key is free from the moment in which it expires, for any request, and then stands for the new record.
pub async fn an_expired_key_is_free(store: &Store) {
    let first = some_execution();
    store.create(keyed(first.clone(), "k", 1)).await.unwrap();
    let day = 24 * 3600;
    let just_before =
        Execution { id: ExecutionId::random(), created_at: after_noon(day - 1), ..first.clone() };
    assert_eq!(store.create(keyed(just_before, "k", 1)).await.unwrap(), existing(&first));
    let second = Execution { id: ExecutionId::random(), created_at: after_noon(day), ..first.clone() };
    let mut new = keyed(second.clone(), "k", 2);
    new.idempotency.as_mut().unwrap().expires_at = after_noon(2 * day);
    assert_eq!(store.create(new.clone()).await.unwrap(), Created::New);
    new.record.id = ExecutionId::random();
    assert_eq!(store.create(new).await.unwrap(), existing(&second));
    assert_eq!(store.get(first.id).await.unwrap(), Some(first));
}

/// A key is remembered for its time, whatever becomes of its execution.
pub async fn a_key_stays_when_its_execution_ends(store: &Store) {
    let first = some_execution();
    store.create(keyed(first.clone(), "k", 1)).await.unwrap();
    run_to_the_end(store, first.id).await;
    let other = Execution { id: ExecutionId::random(), ..first };
    assert!(matches!(store.create(keyed(other, "k", 2)).await, Err(StoreError::Conflict { .. })));
}

/// A run that did not get its lock may be asked for again under its key, also as another request.
pub async fn a_key_whose_execution_did_not_get_its_lock_is_free(store: &Store) {
    let first = Execution { status: Status::Queued, ..some_execution() };
    store.create(keyed(first.clone(), "k", 1)).await.unwrap();
    let refused = Patch {
        reason: Some(Reason::LockHeld),
        completed_at: Some(first.created_at),
        ..Patch::to(Status::Failed)
    };
    store.transition(first.id, &[Status::Queued], &refused).await.unwrap();
    let other = Execution { id: ExecutionId::random(), ..first };
    assert_eq!(store.create(keyed(other.clone(), "k", 2)).await.unwrap(), Created::New);
    let again = Execution { id: ExecutionId::random(), ..other.clone() };
    let known = store.create(keyed(again, "k", 2)).await.unwrap();
    assert!(matches!(known, Created::Existing(record) if record.id == other.id));
}

/// Of many creates with one key at once, one records, and all the others are told of its record.
pub async fn of_many_creates_with_a_key_one_wins(store: &Store) {
    let user = some_execution();
    race_for_a_key(store, &user, |record| keyed(record, "k", 1)).await;
}

/// The same where the key has been there and has expired.
pub async fn of_many_expired_keys_one_is_taken_over(store: &Store) {
    let first = some_execution();
    store.create(keyed(first.clone(), "k", 9)).await.unwrap();
    let later = Execution { created_at: after_noon(24 * 3600 + 1), ..first };
    race_for_a_key(store, &later, |record| {
        let mut new = keyed(record, "k", 1);
        new.idempotency.as_mut().unwrap().expires_at = after_noon(48 * 3600);
        new
    })
    .await;
}

async fn race_for_a_key(store: &Store, like: &Execution, new: impl Fn(Execution) -> NewExecution) {
    let mut creates = JoinSet::new();
    for _ in 0..16 {
        let record = Execution { id: ExecutionId::random(), ..like.clone() };
        let (store, id, new) = (Arc::clone(store), record.id, new(record));
        creates.spawn(async move { (id, store.create(new).await.unwrap()) });
    }
    let answers = creates.join_all().await;
    let winners: Vec<_> =
        answers.iter().filter(|(_, created)| *created == Created::New).map(|(id, _)| *id).collect();
    assert_eq!(winners.len(), 1);
    for (id, answer) in answers {
        match answer {
            Created::Existing(record) => {
                assert_eq!(record.id, winners[0]);
                assert_eq!(store.get(id).await.unwrap(), None);
            }
            other => assert_eq!(other, Created::New),
        }
    }
}

/// A user has as many live executions as allowed, the new one included; another user is not affected.
pub async fn the_limit_of_a_user_holds(store: &Store) {
    let first = some_execution();
    let next = || Execution { id: ExecutionId::random(), ..first.clone() };
    let refused = |limit| Created::TooMany { scope: LiveScope::User, limit };
    assert_eq!(store.create(limited(first.clone(), None, Some(0))).await.unwrap(), refused(0));
    assert_eq!(store.create(limited(first.clone(), None, Some(2))).await.unwrap(), Created::New);
    assert_eq!(store.create(limited(next(), None, Some(1))).await.unwrap(), refused(1));
    assert_eq!(store.create(limited(next(), None, Some(2))).await.unwrap(), Created::New);
    let third = next();
    assert_eq!(store.create(limited(third.clone(), None, Some(2))).await.unwrap(), refused(2));
    assert_eq!(store.get(third.id).await.unwrap(), None);
    assert_eq!(store.create(limited(some_execution(), None, Some(1))).await.unwrap(), Created::New);
    assert_eq!(store.create(limited(third, None, None)).await.unwrap(), Created::New);
}

/// The store as a whole has as many as allowed. Others may be live in it, so only the ends are looked at.
pub async fn the_limit_of_the_server_holds(store: &Store) {
    let refused = |limit| Created::TooMany { scope: LiveScope::Server, limit };
    assert_eq!(store.create(limited(some_execution(), Some(0), None)).await.unwrap(), refused(0));
    created(store, some_execution()).await;
    assert_eq!(store.create(limited(some_execution(), Some(1), None)).await.unwrap(), refused(1));
    assert_eq!(store.create(limited(some_execution(), Some(u64::MAX), None)).await.unwrap(), Created::New);
}

/// What has ended makes room; what waits, starts, runs or is being stopped does not.
pub async fn ended_executions_do_not_count(store: &Store) {
    let first = created(store, some_execution()).await;
    let next = Execution { id: ExecutionId::random(), ..first.clone() };
    for status in [Status::Running, Status::Terminating] {
        let patch = Patch::to(status);
        store.transition(first.id, &Status::LIVE, &patch).await.unwrap();
        let answer = store.create(limited(next.clone(), None, Some(1))).await.unwrap();
        assert_eq!(answer, Created::TooMany { scope: LiveScope::User, limit: 1 });
    }
    let killed = Patch { reason: Some(Reason::Killed), ..Patch::to(Status::Stopped) };
    store.transition(first.id, &[Status::Terminating], &killed).await.unwrap();
    assert_eq!(store.create(limited(next, None, Some(1))).await.unwrap(), Created::New);
    let queued = Execution { status: Status::Queued, ..some_execution() };
    let queued = created(store, queued).await;
    let next = Execution { id: ExecutionId::random(), ..queued };
    assert!(matches!(
        store.create(limited(next, None, Some(1))).await.unwrap(),
        Created::TooMany { scope: LiveScope::User, .. }
    ));
}

/// The limits are looked at after the key: a replay is answered also by a full store.
pub async fn a_known_key_is_answered_beyond_the_limit(store: &Store) {
    let first = some_execution();
    store.create(keyed(first.clone(), "k", 1)).await.unwrap();
    let again = Execution { id: ExecutionId::random(), ..first.clone() };
    let limits = LiveLimits { server: Some(0), user: Some(0) };
    let replay = NewExecution { limits, ..keyed(again.clone(), "k", 1) };
    assert_eq!(store.create(replay).await.unwrap(), existing(&first));
    let other = NewExecution { limits, ..keyed(again, "k", 2) };
    assert!(matches!(store.create(other).await, Err(StoreError::Conflict { .. })));
}

/// A create that a limit refuses takes neither id nor key.
pub async fn a_refused_create_leaves_nothing(store: &Store) {
    let record = some_execution();
    let limits = LiveLimits { server: None, user: Some(0) };
    let refused = NewExecution { limits, ..keyed(record.clone(), "k", 1) };
    assert!(matches!(store.create(refused).await.unwrap(), Created::TooMany { .. }));
    assert_eq!(store.get(record.id).await.unwrap(), None);
    assert_eq!(store.request(record.id).await.unwrap(), None);
    assert_eq!(store.create(keyed(record, "k", 2)).await.unwrap(), Created::New);
}

/// Of many creates at once, as many are recorded as the limit allows.
pub async fn of_many_creates_at_the_limit_the_rest_is_refused(store: &Store) {
    let user = some_execution();
    let mut creates = JoinSet::new();
    for n in 0..24 {
        let record = Execution { id: ExecutionId::random(), ..user.clone() };
        let key =
            Idempotency { key: format!("k{n}"), fingerprint: [0; 32], expires_at: after_noon(24 * 3600) };
        let new = NewExecution { idempotency: Some(key), ..limited(record, None, Some(7)) };
        let store = Arc::clone(store);
        creates.spawn(async move { store.create(new).await.unwrap() });
    }
    let answers = creates.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == Created::New).count(), 7);
}
