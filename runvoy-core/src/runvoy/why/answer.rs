//! From facts to an answer.

use std::time::Duration;

use super::words::{self, time_of};
use super::{Facts, Finding, Phase, Why, phases};
use crate::execution::Execution;
use crate::state::{Reason, Status};

/// What takes less is not slow, whatever it is compared with.
const NOTABLE: Duration = Duration::from_secs(1);
/// A command is slow that takes so many times as long as it usually does.
const FACTOR: u32 = 2;
/// With fewer runs to compare with nobody knows what is usual.
const RUNS: usize = 3;

/// The whole answer.
pub(super) fn answer(facts: Facts) -> Why {
    let phases = phases::of(&facts);
    let slow = slow(&facts, &phases);
    let finding = finding(&facts.record, slow);
    let summary = words::summary(&facts, finding, &phases, slow);
    let remedy = words::remedy(&facts, finding, &phases, slow);
    let Facts { record, waiting, usual, .. } = facts;
    Why { execution: record, finding, summary, remedy, waiting, phases, slow, usual }
}

fn finding(record: &Execution, slow: Option<Phase>) -> Finding {
    match record.status {
        Status::Queued => Finding::Waits,
        Status::Starting => Finding::Starts,
        Status::Terminating => Finding::Stops,
        Status::Running | Status::Succeeded if slow.is_some() => Finding::Slow,
        Status::Running => Finding::Runs,
        Status::Succeeded => Finding::Succeeded,
        Status::Stopped => Finding::Stopped,
        Status::Failed if record.status_reason == Some(Reason::Denied) => Finding::Denied,
        Status::Failed => Finding::Failed,
    }
}

/// The phase that took longer than it should: one that kept the command from its work for longer than the work took,
/// or the command itself, for longer than it usually takes.
fn slow(facts: &Facts, phases: &[(Phase, Duration)]) -> Option<Phase> {
    let command = time_of(phases, Phase::Command);
    let is_over = match facts.record.status {
        Status::Succeeded => true,
        Status::Running => false,
        _ => return None,
    };
    let before = phases.iter().filter(|(phase, _)| *phase != Phase::Command).max_by_key(|(_, time)| *time);
    if let Some((phase, time)) = before
        && is_over
        && *time >= NOTABLE
        && *time > command
    {
        return Some(*phase);
    }
    let usual = facts.usual.filter(|usual| usual.runs >= RUNS)?;
    let is_longer = command >= NOTABLE && command >= usual.median * FACTOR;
    is_longer.then_some(Phase::Command)
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use runvoy_task::PhaseTiming;

    use super::super::Usual;
    use super::*;
    use crate::execution::LockUse;
    use crate::id::{ExecutionId, RequestId};
    use crate::locks::WhenHeld;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_767_607_200_000 + ms).unwrap()
    }

    /// Accepted at 0, granted at 1 s, claimed at 2 s, succeeded at 10 s.
    pub(in super::super) fn record() -> Execution {
        let lock = LockUse {
            name: "prod".parse().unwrap(),
            when_held: WhenHeld::Queue,
            max_wait: 600,
            token: Some(1),
            granted_at: Some(at(1_000)),
            abandoned_by: None,
            after_abandoned: None,
            denied_by: None,
        };
        Execution {
            id: ExecutionId::from_u128(1),
            created_by: "dev@acme.test".parse().unwrap(),
            owned_by: Vec::new(),
            command: "make".to_owned(),
            image_id: None,
            image_digest: None,
            status: Status::Succeeded,
            status_reason: Some(Reason::Exited),
            status_detail: None,
            exit_code: Some(0),
            created_at: at(0),
            started_at: Some(at(2_000)),
            completed_at: Some(at(10_000)),
            attempted_at: at(0),
            timeout: 3600,
            grace: 30,
            task: None,
            stop: None,
            created_by_request_id: RequestId::from_u128(1),
            modified_by_request_id: RequestId::from_u128(1),
            log: None,
            lock: Some(lock),
            secrets: Vec::new(),
            code: None,
        }
    }

    fn facts(record: Execution) -> Facts {
        let start_timeout = crate::limits::START_TIMEOUT;
        let (measured, is_preparing) = (Vec::new(), false);
        Facts { record, waiting: None, usual: None, measured, is_preparing, start_timeout, now: at(20_000) }
    }

    fn measured(phases: &[(&str, u64)]) -> Vec<PhaseTiming> {
        let timing = |&(phase, ms): &(&str, u64)| PhaseTiming { phase: phase.to_owned(), ms };
        phases.iter().map(timing).collect()
    }

    fn ms(why: &Why) -> Vec<(&'static str, u128)> {
        why.phases.iter().map(|(phase, time)| (phase.as_str(), time.as_millis())).collect()
    }

    #[test]
    fn phases_come_from_the_record_and_finer_ones_from_the_agent() {
        let from_record = answer(facts(record()));
        assert_eq!(ms(&from_record), [("queued", 1000), ("starting", 1000), ("command", 8000)]);
        assert_eq!(from_record.finding, Finding::Succeeded);
        let timings = measured(&[("prepare", 20), ("workspace", 3000), ("command", 4500)]);
        let finer = answer(Facts { measured: timings, ..facts(record()) });
        let want = [("queued", 1000), ("starting", 1500), ("workspace", 3000), ("command", 4500)];
        assert_eq!(ms(&finer), want);
        let unlocked = Execution { lock: None, started_at: None, ..record() };
        assert_eq!(ms(&answer(facts(unlocked))), [("starting", 10_000)]);
    }

    #[test]
    fn slow_is_what_kept_it_from_its_work_or_took_longer_than_usual() {
        let workspace =
            Facts { measured: measured(&[("workspace", 6000), ("command", 2000)]), ..facts(record()) };
        let why = answer(workspace);
        assert_eq!((why.finding, why.slow), (Finding::Slow, Some(Phase::Workspace)));
        assert!(why.summary.contains("6.0s") && why.remedy.is_some(), "{why:?}");

        let usual = |seconds, runs| Some(Usual { median: Duration::from_secs(seconds), runs });
        let command = |usual| answer(Facts { usual, ..facts(record()) }).slow;
        assert_eq!(command(usual(4, 3)), Some(Phase::Command));
        assert_eq!(command(usual(5, 3)), None, "less than twice as long");
        assert_eq!(command(usual(1, 2)), None, "too few to compare with");

        // What runs has still time to outlast what it waited for; what failed has another story.
        let running = Execution {
            status: Status::Running,
            completed_at: None,
            started_at: Some(at(19_000)),
            ..record()
        };
        assert_eq!(answer(facts(running)).finding, Finding::Runs);
        let failed = Execution { status: Status::Failed, exit_code: Some(7), ..record() };
        let why = answer(Facts { usual: usual(1, 9), ..facts(failed) });
        assert_eq!((why.finding, why.slow), (Finding::Failed, None));
        assert_eq!(why.summary, "the command ended with exit code 7");
    }

    #[test]
    fn every_status_and_reason_has_a_sentence() {
        for status in Status::ALL {
            for reason in Reason::ALL {
                let record = Execution { status, status_reason: Some(reason), ..record() };
                let why = answer(facts(record));
                assert!(why.summary.len() > 10 && !why.summary.ends_with('.'), "{why:?}");
                let wants_remedy =
                    matches!(why.finding, Finding::Failed | Finding::Denied | Finding::Stopped);
                assert!(why.remedy.is_some() || !wants_remedy, "{why:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn phases_leave_no_gap(granted in 0_i64..5000, claimed in 0_i64..5000, ran in 0_i64..5000, agent in any::<bool>()) {
            let end = granted + claimed + ran;
            let mut record = record();
            record.lock.as_mut().unwrap().granted_at = Some(at(granted));
            record.started_at = Some(at(granted + claimed));
            record.completed_at = Some(at(end));
            let measured = if agent { measured(&[("command", u64::try_from(ran).unwrap())]) } else { Vec::new() };
            let why = answer(Facts { measured, ..facts(record) });
            let sum: u128 = ms(&why).iter().map(|(_, ms)| ms).sum();
            prop_assert_eq!(sum, u128::try_from(end).unwrap());
        }
    }
}
