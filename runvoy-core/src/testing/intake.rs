//! What every [`Intake`] owes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::audit_log::some_event;
use super::execution_store::{new_execution, some_execution};
use crate::execution::{Execution, LockUse};
use crate::id::{ExecutionId, LockName};
use crate::locks::{Holder, LockAnswer, LockCommand, LockDocument, WhenHeld};
use crate::port::{
    AuditEvent, AuditLog, ExecutionStore, Idempotency, Intake, IntakeError, LiveLimits, LiveScope,
    LockManager, NewExecution, StoreError, Taken,
};
use crate::state::Status;

/// An intake, and the stores that it fills.
#[derive(Clone)]
pub struct Stores {
    /// The intake.
    pub intake: Arc<dyn Intake>,
    /// Its audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Its execution store.
    pub executions: Arc<dyn ExecutionStore>,
    /// Its locks.
    pub locks: Arc<dyn LockManager>,
}

type Shared = Arc<Stores>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<Stores>` that answers new, empty stores.
#[macro_export]
macro_rules! intake_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; intake;
            shared:
                what_was_decided_and_the_record_are_there
                a_repeated_key_answers_the_first_record_and_is_recorded_again
                a_conflict_is_recorded_and_makes_nothing
                what_is_too_much_is_recorded_and_makes_nothing
                of_many_at_once_each_is_there_with_its_events
                a_free_lock_is_granted_with_the_record_or_not_at_all
                a_lock_that_is_held_stays_as_it_is
                what_is_not_recorded_gets_no_lock
                of_many_at_once_one_holds_the_lock;
            own:;
        }
    };
}

fn keyed(key: &str, fingerprint: u8) -> NewExecution {
    let record = some_execution();
    let idempotency = Idempotency {
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
        expires_at: record.created_at + jiff::SignedDuration::from_hours(1),
    };
    NewExecution { idempotency: Some(idempotency), ..new_execution(record) }
}

/// The same user's, with the same key.
fn again(first: &NewExecution, fingerprint: u8) -> NewExecution {
    let mut new = keyed("again", fingerprint);
    new.record.created_by = first.record.created_by.clone();
    new
}

/// What was decided about it, in order.
fn events(new: &NewExecution) -> Vec<AuditEvent> {
    let about = |detail: &str| AuditEvent {
        request_id: new.record.created_by_request_id,
        resource: format!("execution:{}", new.record.id),
        detail: Some(detail.to_owned()),
        ..some_event()
    };
    ["first", "second"].map(about).to_vec()
}

/// What the log says of an execution, oldest first.
async fn recorded(stores: &Shared, id: ExecutionId) -> Vec<AuditEvent> {
    let records = stores.audit.read(0, 1000).await.unwrap();
    let events = records.iter().map(|record| record.event().unwrap());
    events.filter(|event| event.resource == format!("execution:{id}")).collect()
}

/// One that is to hold a lock, as it is before it does.
fn wanting(lock: &str) -> NewExecution {
    let lock = LockUse::wanted(lock.parse().unwrap(), WhenHeld::Queue, 60);
    new_execution(Execution { status: Status::Queued, lock: Some(lock), ..some_execution() })
}

async fn lock(stores: &Shared, name: &str) -> LockDocument {
    let name: LockName = name.parse().unwrap();
    (*stores.locks.show(&name).await.unwrap()).clone()
}

/// The record is as it was answered; it starts if it holds the lock, and waits if it does not.
async fn assert_agrees(stores: &Shared, record: &Execution, holder: Option<&Holder>) {
    let found = stores.executions.get(record.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(record));
    let token = record.lock.as_ref().unwrap().token;
    let held = holder.filter(|holder| holder.execution == record.id);
    assert_eq!(token, held.map(|holder| holder.token));
    assert_eq!(record.status, if held.is_some() { Status::Starting } else { Status::Queued });
}

async fn take_in(stores: &Shared, new: &NewExecution) -> Result<Taken, IntakeError> {
    stores.intake.take_in(events(new), new.clone()).await
}

/// The events in their order, the record as it was given.
pub async fn what_was_decided_and_the_record_are_there(stores: &Shared) {
    let new = new_execution(some_execution());
    assert_eq!(take_in(stores, &new).await.unwrap(), Taken::New(Box::new(new.record.clone())));
    assert_eq!(recorded(stores, new.record.id).await, events(&new));
    assert_eq!(stores.executions.get(new.record.id).await.unwrap(), Some(new.record.clone()));
    assert_eq!(stores.executions.request(new.record.id).await.unwrap(), Some(new.request));
}

/// A decision is recorded, also where it comes to nothing new.
pub async fn a_repeated_key_answers_the_first_record_and_is_recorded_again(stores: &Shared) {
    let first = keyed("again", 1);
    take_in(stores, &first).await.unwrap();
    let second = again(&first, 1);
    let existing = Taken::Existing(Box::new(first.record.clone()));
    assert_eq!(take_in(stores, &second).await.unwrap(), existing);
    assert_eq!(recorded(stores, second.record.id).await, events(&second));
    assert_eq!(stores.executions.get(second.record.id).await.unwrap(), None);
}

/// A key of another request refuses; that it was allowed is in the log.
pub async fn a_conflict_is_recorded_and_makes_nothing(stores: &Shared) {
    let first = keyed("again", 1);
    take_in(stores, &first).await.unwrap();
    let second = again(&first, 2);
    let error = take_in(stores, &second).await.unwrap_err();
    assert!(matches!(error, IntakeError::Executions(StoreError::Conflict { .. })), "{error}");
    assert_eq!(recorded(stores, second.record.id).await, events(&second));
    assert_eq!(stores.executions.get(second.record.id).await.unwrap(), None);
}

/// A limit refuses; that it was allowed is in the log.
pub async fn what_is_too_much_is_recorded_and_makes_nothing(stores: &Shared) {
    let none = LiveLimits { server: None, user: Some(0) };
    let new = NewExecution { limits: none, ..new_execution(some_execution()) };
    let too_many = Taken::TooMany { scope: LiveScope::User, limit: 0 };
    assert_eq!(take_in(stores, &new).await.unwrap(), too_many);
    assert_eq!(recorded(stores, new.record.id).await, events(&new));
    assert_eq!(stores.executions.get(new.record.id).await.unwrap(), None);
}

/// Nobody's events are lost or doubled, and the log stays one chain.
pub async fn of_many_at_once_each_is_there_with_its_events(stores: &Shared) {
    let all: Vec<_> = (0..32).map(|_| new_execution(some_execution())).collect();
    let mut taking = JoinSet::new();
    for new in all.clone() {
        let stores = Arc::clone(stores);
        taking.spawn(async move { take_in(&stores, &new).await.unwrap() });
    }
    taking.join_all().await;
    for new in &all {
        assert_eq!(recorded(stores, new.record.id).await, events(new));
        assert!(stores.executions.get(new.record.id).await.unwrap().is_some());
    }
    let records = stores.audit.read(0, 1000).await.unwrap();
    assert!(records.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

/// Never one without the other.
pub async fn a_free_lock_is_granted_with_the_record_or_not_at_all(stores: &Shared) {
    let new = wanting("prod/web");
    let Taken::New(record) = take_in(stores, &new).await.unwrap() else { panic!("it is new") };
    let holder = lock(stores, "prod/web").await.holder;
    assert_agrees(stores, &record, holder.as_ref()).await;
    assert_eq!(stores.executions.request(record.id).await.unwrap(), Some(new.request));
    // Asked again, it holds it under the same token.
    let command = LockCommand::if_free(&record);
    let answer =
        stores.locks.command(&"prod/web".parse().unwrap(), command, record.created_at).await.unwrap();
    let LockAnswer::Granted(again) = answer else { panic!("it was free: {answer:?}") };
    assert!(holder.is_none_or(|holder| holder == again));
    let listed = stores.locks.list().await.unwrap();
    assert_eq!(listed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["prod/web"]);
}

/// Who waits is asked for later, whatever it wants to do about it.
pub async fn a_lock_that_is_held_stays_as_it_is(stores: &Shared) {
    let (first, second) = (wanting("db"), wanting("db"));
    take_in(stores, &first).await.unwrap();
    let command = LockCommand::if_free(&first.record);
    stores.locks.command(&"db".parse().unwrap(), command, first.record.created_at).await.unwrap();
    let before = lock(stores, "db").await;
    assert_eq!(take_in(stores, &second).await.unwrap(), Taken::New(Box::new(second.record.clone())));
    assert_eq!(lock(stores, "db").await, before);
    assert_eq!(stores.executions.get(second.record.id).await.unwrap(), Some(second.record));
}

/// A limit, a repetition and a conflict leave a free lock free.
pub async fn what_is_not_recorded_gets_no_lock(stores: &Shared) {
    let first = keyed("again", 1);
    take_in(stores, &first).await.unwrap();
    let none = LiveLimits { server: None, user: Some(0) };
    let too_many = NewExecution { limits: none, ..wanting("db") };
    assert!(matches!(take_in(stores, &too_many).await.unwrap(), Taken::TooMany { .. }));
    for fingerprint in [1, 2] {
        let mut repeated = again(&first, fingerprint);
        repeated.record = Execution { created_by: first.record.created_by.clone(), ..wanting("db").record };
        let _ = take_in(stores, &repeated).await;
        assert_eq!(stores.executions.get(repeated.record.id).await.unwrap(), None);
    }
    assert_eq!(lock(stores, "db").await, LockDocument::default());
}

/// At most one, and all the others are there to ask for it.
pub async fn of_many_at_once_one_holds_the_lock(stores: &Shared) {
    let mut taking = JoinSet::new();
    for _ in 0..32 {
        let stores = Arc::clone(stores);
        taking.spawn(async move { take_in(&stores, &wanting("db")).await.unwrap() });
    }
    let all = taking.join_all().await;
    let holder = lock(stores, "db").await.holder;
    for taken in &all {
        let Taken::New(record) = taken else { panic!("{taken:?}") };
        assert_agrees(stores, record, holder.as_ref()).await;
    }
    assert!(lock(stores, "db").await.waiters.is_empty());
}
