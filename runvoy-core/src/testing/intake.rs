//! What every [`Intake`] owes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::audit_log::some_event;
use super::execution_store::{new_execution, some_execution};
use crate::id::ExecutionId;
use crate::port::{
    AuditEvent, AuditLog, Created, ExecutionStore, Idempotency, Intake, IntakeError, LiveLimits, LiveScope,
    NewExecution, StoreError,
};

/// An intake, and the stores that it fills.
#[derive(Clone)]
pub struct Stores {
    /// The intake.
    pub intake: Arc<dyn Intake>,
    /// Its audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Its execution store.
    pub executions: Arc<dyn ExecutionStore>,
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
                of_many_at_once_each_is_there_with_its_events;
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

async fn take_in(stores: &Shared, new: &NewExecution) -> Result<Created, IntakeError> {
    stores.intake.take_in(events(new), new.clone()).await
}

/// The events in their order, the record as it was given.
pub async fn what_was_decided_and_the_record_are_there(stores: &Shared) {
    let new = new_execution(some_execution());
    assert_eq!(take_in(stores, &new).await.unwrap(), Created::New);
    assert_eq!(recorded(stores, new.record.id).await, events(&new));
    assert_eq!(stores.executions.get(new.record.id).await.unwrap(), Some(new.record.clone()));
    assert_eq!(stores.executions.request(new.record.id).await.unwrap(), Some(new.request));
}

/// A decision is recorded, also where it comes to nothing new.
pub async fn a_repeated_key_answers_the_first_record_and_is_recorded_again(stores: &Shared) {
    let first = keyed("again", 1);
    take_in(stores, &first).await.unwrap();
    let second = again(&first, 1);
    let existing = Created::Existing(Box::new(first.record.clone()));
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
    let too_many = Created::TooMany { scope: LiveScope::User, limit: 0 };
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
    assert_eq!(taking.join_all().await, vec![Created::New; all.len()]);
    for new in &all {
        assert_eq!(recorded(stores, new.record.id).await, events(new));
        assert!(stores.executions.get(new.record.id).await.unwrap().is_some());
    }
    let records = stores.audit.read(0, 1000).await.unwrap();
    assert!(records.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}
