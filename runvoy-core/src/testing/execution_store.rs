//! What every [`ExecutionStore`] owes.

mod creating;
mod listing;
mod reopening;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runvoy_task::CommandLine;

use crate::code::{Code, GitCode};
use crate::execution::{Asked, Container, Execution, Patch, StartRequest};
use crate::id::{Email, ExecutionId, RequestId};
use crate::port::{Created, ExecutionStore, Idempotency, LiveLimits, NewExecution};
use crate::state::{Reason, Status};

pub use creating::*;
pub use listing::*;
pub use reopening::*;
pub use steps::*;

type Store = Arc<dyn ExecutionStore>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn ExecutionStore>` that answers a new, empty store.
#[macro_export]
macro_rules! execution_store_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; execution_store;
            shared:
                a_created_record_reads_back
                an_unknown_id_is_not_there
                an_id_is_taken_once
                only_first_steps_create
                a_repeated_key_answers_the_first_record
                a_key_with_another_request_is_a_conflict
                a_key_belongs_to_its_user
                an_expired_key_is_free
                a_key_stays_when_its_execution_ends
                a_key_whose_execution_did_not_get_its_lock_is_free
                of_many_creates_with_a_key_one_wins
                of_many_expired_keys_one_is_taken_over
                the_limit_of_a_user_holds
                the_limit_of_the_server_holds
                ended_executions_do_not_count
                a_known_key_is_answered_beyond_the_limit
                a_refused_create_leaves_nothing
                of_many_creates_at_the_limit_the_rest_is_refused
                a_step_changes_what_the_patch_says
                a_patch_without_a_status_keeps_it
                a_forbidden_step_changes_nothing
                a_refused_step_changes_nothing
                no_status_expected_refuses
                a_step_of_nothing_is_not_found
                of_many_steps_one_wins
                the_request_is_there_until_the_end
                an_ended_record_stays_as_it_is
                an_end_is_owed_its_outcome_until_it_is_recorded
                a_prefix_finds_none_one_or_two
                a_listing_is_newest_first
                pages_neither_skip_nor_repeat
                the_last_page_says_so
                a_listing_by_status
                a_listing_by_user
                a_listing_by_user_and_status
                a_listing_by_time
                a_listing_by_no_status_is_empty
                a_page_has_bounds
                a_record_that_moves_is_listed_once
                an_acknowledged_record_is_listed;
            own:
                everything_survives_reopening;
        }
    };
}

/// When the cases happen.
fn noon() -> Timestamp {
    "2026-01-02T12:00:00.123Z".parse().unwrap()
}

fn after_noon(seconds: i64) -> Timestamp {
    noon() + jiff::SignedDuration::from_secs(seconds)
}

/// A user whom no other case knows.
fn some_email() -> Email {
    format!("{}@executions.test", RequestId::random()).parse().unwrap()
}

/// A record that no other case knows.
pub fn some_execution() -> Execution {
    let user = some_email();
    let request = RequestId::random();
    Execution {
        id: ExecutionId::random(),
        created_by: user.clone(),
        owned_by: vec![user],
        command: "echo 'it''s'; echo \"ü\"".to_owned(),
        image_id: None,
        image_digest: None,
        status: Status::Starting,
        status_reason: None,
        status_detail: None,
        exit_code: None,
        created_at: noon(),
        started_at: None,
        completed_at: None,
        attempted_at: noon(),
        timeout: 3600,
        grace: 30,
        task: None,
        stop: None,
        created_by_request_id: request,
        modified_by_request_id: request,
        log: None,
        lock: None,
        secrets: Vec::new(),
        code: None,
    }
}

/// A checkout with all that may be said of one.
fn some_checkout() -> GitCode {
    GitCode {
        repo: "https://git.test/a.git".to_owned(),
        git_ref: "feature/x".to_owned(),
        path: Some("infra".to_owned()),
        token: Some("gh".parse().unwrap()),
        commit: Some("0".repeat(40)),
    }
}

/// What starts it.
pub fn some_request() -> StartRequest {
    StartRequest {
        command: CommandLine::Args(vec!["printenv".to_owned(), "ü \" '".to_owned()]),
        env: BTreeMap::from([("TOKEN".to_owned(), "hidden\nvalue".to_owned())]),
        timeout: Duration::from_hours(1),
        grace: Duration::from_millis(1500),
        stop_signal: Some("INT".parse().unwrap()),
        container: Container {
            image: Some("alpine:3".to_owned()),
            memory: Some(64),
            read_only: true,
            ..Container::default()
        },
        asked: Asked::default(),
        code: Some(Code::Git(some_checkout())),
    }
}

/// A record to create, without key and limits.
pub fn new_execution(record: Execution) -> NewExecution {
    NewExecution { record, request: some_request(), idempotency: None, limits: LiveLimits::default() }
}

/// A record that is there.
async fn created(store: &Store, record: Execution) -> Execution {
    assert_eq!(store.create(new_execution(record.clone())).await.unwrap(), Created::New);
    record
}

fn keyed(record: Execution, key: &str, fingerprint: u8) -> NewExecution {
    let idempotency = Idempotency {
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
        expires_at: after_noon(24 * 3600),
    };
    NewExecution { idempotency: Some(idempotency), ..new_execution(record) }
}

/// Takes a record through RUNNING to SUCCEEDED.
async fn run_to_the_end(store: &Store, id: ExecutionId) {
    let started = Patch { started_at: Some(after_noon(1)), ..Patch::to(Status::Running) };
    store.transition(id, &[Status::Starting], &started).await.unwrap();
    store.transition(id, &[Status::Running], &success()).await.unwrap();
}

fn success() -> Patch {
    Patch {
        reason: Some(Reason::Exited),
        exit_code: Some(0),
        completed_at: Some(after_noon(9)),
        ..Patch::to(Status::Succeeded)
    }
}
