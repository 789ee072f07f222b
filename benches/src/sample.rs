//! Records as they are in use.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runvoy_core::execution::{Asked, Container, Execution, StartRequest};
use runvoy_core::id::{Email, ExecutionId, RequestId};
use runvoy_core::port::{LiveLimits, NewExecution};
use runvoy_core::state::Status;
use runvoy_task::CommandLine;

/// Who measures.
pub(crate) const EMAIL: &str = "dev@acme.test";

const COMMAND: &str = "terraform -chdir=environments/production apply -input=false plan.tfplan";
/// A morning in January 2026.
const BEGIN_MS: i64 = 1_767_600_000_000;

/// An execution of a user's. The next number's was accepted a millisecond later.
pub(crate) fn execution(user: &Email, number: u32) -> NewExecution {
    let at = Timestamp::from_millisecond(BEGIN_MS + i64::from(number)).unwrap_or_default();
    let request_id = RequestId::random();
    let (timeout, grace) = (Duration::from_hours(1), Duration::from_secs(30));
    let record = Execution {
        id: ExecutionId::random(),
        created_by: user.clone(),
        owned_by: vec![user.clone()],
        command: COMMAND.to_owned(),
        image_id: None,
        image_digest: None,
        status: Status::Starting,
        status_reason: None,
        status_detail: None,
        exit_code: None,
        created_at: at,
        started_at: None,
        completed_at: None,
        attempted_at: at,
        timeout: timeout.as_secs(),
        grace: grace.as_secs(),
        task: None,
        stop: None,
        created_by_request_id: request_id,
        modified_by_request_id: request_id,
        log: None,
        lock: None,
        secrets: Vec::new(),
        code: None,
    };
    let request = StartRequest {
        command: CommandLine::Shell(COMMAND.to_owned()),
        env: BTreeMap::from([("TF_IN_AUTOMATION".to_owned(), "true".to_owned())]),
        timeout,
        grace,
        stop_signal: None,
        container: Container::default(),
        asked: Asked::default(),
        code: None,
    };
    NewExecution { record, request, idempotency: None, limits: LiveLimits::default() }
}
