use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Store, after_noon, created, new_execution, run_to_the_end, some_checkout, some_email, some_execution,
    some_request, success,
};
use crate::code::{Code, GitCode};
use crate::execution::{Execution, LogSummary, Patch, StopOrder, TaskHandle};
use crate::id::{ExecutionId, IdPrefix, RequestId};
use crate::port::{Created, StoreError, Transition};
use crate::state::{Reason, STEPS, Status};

fn applied(record: &Execution) -> Transition {
    Transition::Applied(Box::new(record.clone()))
}

fn refused(record: &Execution) -> Transition {
    Transition::Refused(Box::new(record.clone()))
}

/// A step writes what its patch names, and answers the record that a reader then sees.
pub async fn a_step_changes_what_the_patch_says(store: &Store) {
    let code = Some(Code::Git(GitCode { commit: None, ..some_checkout() }));
    let mut record = created(store, Execution { code, ..some_execution() }).await;
    let stop = StopOrder { by: some_email(), at: after_noon(5), grace: None };
    let log = LogSummary { events: 7, bytes: 70, replacements: 1, hash: "blake3:07".to_owned() };
    let patches = [
        Patch {
            detail: Some("pulling".to_owned()),
            started_at: Some(after_noon(1)),
            attempted_at: Some(after_noon(2)),
            task: Some(TaskHandle("t-1".to_owned())),
            request_id: Some(RequestId::random()),
            ..Patch::to(Status::Running)
        },
        Patch { stop: Some(stop), ..Patch::to(Status::Terminating) },
        Patch {
            reason: Some(Reason::Killed),
            exit_code: Some(137),
            completed_at: Some(after_noon(9)),
            log: Some(log),
            commit: Some("1".repeat(40)),
            ..Patch::to(Status::Stopped)
        },
    ];
    for patch in patches {
        let from = [record.status];
        record.apply(&patch).unwrap();
        assert_eq!(store.transition(record.id, &from, &patch).await.unwrap(), applied(&record));
        assert_eq!(store.get(record.id).await.unwrap(), Some(record.clone()));
    }
}

/// A patch without a status records a detail in any live status.
pub async fn a_patch_without_a_status_keeps_it(store: &Store) {
    let mut record = created(store, some_execution()).await;
    let patch = Patch { attempted_at: Some(after_noon(7)), ..Patch::default() };
    record.apply(&patch).unwrap();
    assert_eq!(store.transition(record.id, &Status::LIVE, &patch).await.unwrap(), applied(&record));
    assert_eq!(store.get(record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(store.request(record.id).await.unwrap(), Some(some_request()));
}

/// What the state machine does not have is refused from every status, and changes nothing.
pub async fn a_forbidden_step_changes_nothing(store: &Store) {
    for from in Status::ALL {
        let record = brought_to(store, from).await;
        for to in Status::ALL {
            for reason in [None, Some(Reason::Exited), Some(Reason::Killed), Some(Reason::LockHeld)] {
                let patch = Patch { reason, detail: Some("no".to_owned()), ..Patch::to(to) };
                if record.clone().apply(&patch).is_ok() {
                    continue;
                }
                let error = store.transition(record.id, &[from], &patch).await.unwrap_err();
                assert!(matches!(error, StoreError::Invalid { .. }), "{from} to {to}: {error:?}");
                assert_eq!(store.get(record.id).await.unwrap(), Some(record.clone()));
            }
        }
        let kept = !from.is_terminal();
        assert_eq!(store.request(record.id).await.unwrap().is_some(), kept, "{from}");
    }
}

/// A compare-and-set that expects another status answers the record and changes nothing, also where the step
/// would be forbidden.
pub async fn a_refused_step_changes_nothing(store: &Store) {
    let record = created(store, some_execution()).await;
    for patch in [success(), Patch::to(Status::Queued), Patch::to(Status::Running)] {
        let from = [Status::Running, Status::Queued];
        assert_eq!(store.transition(record.id, &from, &patch).await.unwrap(), refused(&record));
    }
    assert_eq!(store.get(record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(store.request(record.id).await.unwrap(), Some(some_request()));
}

/// Who expects no status is always refused.
pub async fn no_status_expected_refuses(store: &Store) {
    let record = created(store, some_execution()).await;
    let answer = store.transition(record.id, &[], &Patch::to(Status::Running)).await.unwrap();
    assert_eq!(answer, refused(&record));
}

/// Nothing cannot be changed.
pub async fn a_step_of_nothing_is_not_found(store: &Store) {
    let patch = Patch::to(Status::Running);
    let error = store.transition(ExecutionId::random(), &Status::ALL, &patch).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
}

/// Of many steps away from one status at once, one is applied, and the others see it.
pub async fn of_many_steps_one_wins(store: &Store) {
    let record = created(store, some_execution()).await;
    let mut steps = JoinSet::new();
    for n in 0..16 {
        let to = if n % 2 == 0 { Status::Running } else { Status::Terminating };
        let patch = Patch { detail: Some(format!("by {n}")), ..Patch::to(to) };
        let (store, id) = (Arc::clone(store), record.id);
        steps.spawn(async move { store.transition(id, &[Status::Starting], &patch).await.unwrap() });
    }
    let answers = steps.join_all().await;
    let now = store.get(record.id).await.unwrap().unwrap();
    let winners = answers.iter().filter(|answer| **answer == applied(&now)).count();
    let losers = answers.iter().filter(|answer| **answer == refused(&now)).count();
    assert_eq!((winners, losers), (1, 15));
}

/// The request can be read in every live status and in no terminal one.
pub async fn the_request_is_there_until_the_end(store: &Store) {
    for status in Status::ALL {
        let record = brought_to(store, status).await;
        let request = store.request(record.id).await.unwrap();
        assert_eq!(request, (!status.is_terminal()).then(some_request), "{status}");
    }
}

/// Nothing follows a terminal status, not even a detail.
pub async fn an_ended_record_stays_as_it_is(store: &Store) {
    let record = created(store, some_execution()).await;
    run_to_the_end(store, record.id).await;
    let ended = store.get(record.id).await.unwrap().unwrap();
    let patch = Patch { detail: Some("late".to_owned()), ..Patch::default() };
    let error = store.transition(record.id, &Status::ALL, &patch).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert_eq!(store.transition(record.id, &Status::LIVE, &patch).await.unwrap(), refused(&ended));
    assert_eq!(store.get(record.id).await.unwrap(), Some(ended));
}

/// A prefix finds nothing, the one id, or two of many.
pub async fn a_prefix_finds_none_one_or_two(store: &Store) {
    let random = ExecutionId::random().to_string();
    let (shared, digits) = (&random[..24], &random[24..30]);
    let prefix = |text: &str| text.parse::<IdPrefix>().unwrap();
    assert_eq!(store.find(&prefix(shared)).await.unwrap(), []);
    let ids: Vec<ExecutionId> =
        ["00", "7f", "ff"].iter().map(|end| format!("{shared}{digits}{end}").parse().unwrap()).collect();
    created(store, Execution { id: ids[1], ..some_execution() }).await;
    assert_eq!(store.find(&prefix(shared)).await.unwrap(), [ids[1]]);
    for id in [ids[0], ids[2]] {
        created(store, Execution { id, ..some_execution() }).await;
    }
    let two = store.find(&prefix(shared)).await.unwrap();
    assert!(two.len() == 2 && two[0] != two[1] && two.iter().all(|id| ids.contains(id)), "{two:?}");
    for id in ids {
        assert_eq!(store.find(&id.into()).await.unwrap(), [id], "a whole id is unique");
        assert_eq!(store.find(&prefix(&id.to_string()[..31])).await.unwrap(), [id]);
    }
}

/// A record that went the shortest way to `status`.
async fn brought_to(store: &Store, status: Status) -> Execution {
    let mut way = vec![status];
    while let Some(step) = STEPS.iter().find(|step| step.to == way[0] && step.from != Some(Status::Queued)) {
        let Some(from) = step.from else { break };
        way.insert(0, from);
    }
    let mut record = some_execution();
    record.status = way[0];
    record.status_reason = (record.status == Status::Failed).then_some(Reason::LockHeld);
    assert_eq!(store.create(new_execution(record.clone())).await.unwrap(), Created::New);
    for pair in way.windows(2) {
        let step = STEPS.iter().find(|step| step.from == Some(pair[0]) && step.to == pair[1]).unwrap();
        let patch = Patch { reason: step.reasons.first().copied(), ..Patch::to(pair[1]) };
        record.apply(&patch).unwrap();
        assert_eq!(store.transition(record.id, &[pair[0]], &patch).await.unwrap(), applied(&record));
    }
    record
}

/// An end owes its outcome from the write that makes it an end; what is refused, and what goes on, owes nothing.
pub async fn an_end_is_owed_its_outcome_until_it_is_recorded(store: &Store) {
    let owed = async |id: ExecutionId| {
        let all = store.outcomes_owed(1000).await.unwrap();
        all.into_iter().find(|record| record.id == id)
    };
    let record = created(store, some_execution()).await;
    assert_eq!(owed(record.id).await, None);
    run_to_the_end(store, record.id).await;
    let ended = store.get(record.id).await.unwrap();
    assert_eq!(owed(record.id).await, ended);
    assert_eq!(store.outcomes_owed(0).await.unwrap(), []);
    store.outcome_recorded(record.id).await.unwrap();
    store.outcome_recorded(record.id).await.unwrap();
    assert_eq!(owed(record.id).await, None);
    store.transition(record.id, &[Status::Running], &success()).await.unwrap();
    assert_eq!(owed(record.id).await, None, "it had ended before");
    store.outcome_recorded(ExecutionId::random()).await.unwrap();
}
