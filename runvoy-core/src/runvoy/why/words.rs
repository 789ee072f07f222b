//! The answer in a sentence.

use std::fmt;
use std::time::Duration;

use super::phases::between;
use super::{Facts, Finding, Phase, Usual, remedies};
use crate::execution::Execution;
use crate::id::ExecutionId;
use crate::limits;
use crate::state::Reason;

/// The first digits of an id, as people see it.
pub(super) struct Short(pub(super) ExecutionId);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.8}", self.0.to_string())
    }
}

/// What happens, or happened.
pub(super) fn summary(
    facts: &Facts,
    finding: Finding,
    phases: &[(Phase, Duration)],
    slow: Option<Phase>,
) -> String {
    let record = &facts.record;
    let took = |phase| time_span(time_of(phases, phase));
    match finding {
        Finding::Waits => waits(facts),
        Finding::Starts => format!("its task has not taken the command yet, for {}", took(Phase::Starting)),
        Finding::Runs if facts.is_preparing => {
            format!("the directory to start in is being prepared, for {}", took(Phase::Workspace))
        }
        Finding::Runs => format!("its command runs, for {}{}", took(Phase::Command), usually(facts.usual)),
        Finding::Stops => stops(record),
        Finding::Succeeded => {
            let whole = time_span(phases.iter().map(|(_, time)| *time).sum());
            format!("it succeeded, {whole} after it was asked for")
        }
        Finding::Slow => slowly(facts, phases, slow.unwrap_or(Phase::Command)),
        Finding::Denied | Finding::Failed | Finding::Stopped => ended(record),
    }
}

/// What to do about it.
pub(super) fn remedy(
    facts: &Facts,
    finding: Finding,
    phases: &[(Phase, Duration)],
    slow: Option<Phase>,
) -> Option<String> {
    let record = &facts.record;
    match finding {
        Finding::Waits => record.lock.as_ref().map(|lock| {
            format!(
                "`runvoy locks show {}` shows the line, `runvoy kill {}` leaves it; it gives up after {} s",
                lock.name,
                Short(record.id),
                lock.max_wait
            )
        }),
        // A while in which somebody may still be at it.
        Finding::Starts if time_of(phases, Phase::Starting) < limits::ATTEMPT_SILENCE => None,
        Finding::Starts => Some(format!(
            "look for `task not started yet` in the server's log; it is given up after {}",
            time_span(facts.start_timeout)
        )),
        Finding::Stops => {
            Some("the order is repeated until nothing of it is left; a shorter `--grace` hurries".to_owned())
        }
        Finding::Runs | Finding::Succeeded => None,
        Finding::Slow => slow.map(|phase| remedies::slow_remedy(phase, record)),
        Finding::Denied | Finding::Failed | Finding::Stopped => {
            record.status_reason.map(|reason| remedies::remedy(reason, record))
        }
    }
}

pub(super) fn time_of(phases: &[(Phase, Duration)], wanted: Phase) -> Duration {
    phases.iter().find(|(phase, _)| *phase == wanted).map_or(Duration::ZERO, |(_, time)| *time)
}

fn waits(facts: &Facts) -> String {
    let (record, now) = (&facts.record, facts.now);
    let name = record.lock.as_ref().map_or("", |lock| lock.name.as_str());
    let Some(waiting) = facts.waiting.as_ref().filter(|waiting| waiting.position > 0) else {
        return format!("it has just been given the lock `{name}`, and is about to start");
    };
    let waited = time_span(between(record.created_at, now));
    let holder = match &waiting.holder {
        Some(holder) => format!(
            "{} of {} holds it since {} ({})",
            Short(holder.execution),
            holder.user,
            holder.since.strftime("%Y-%m-%d %H:%M:%SZ"),
            time_span(between(holder.since, now))
        ),
        None => "nobody holds it at this moment".to_owned(),
    };
    let position = waiting.position;
    let usual = match facts.usual {
        Some(usual) => {
            let median = time_span(usual.median);
            format!("; the last {} that succeeded under it took {median}, in the median", usual.runs)
        }
        None => "; none has succeeded under it yet".to_owned(),
    };
    format!("it waits for the lock `{name}` for {waited}, at position {position}; {holder}{usual}")
}

fn stops(record: &Execution) -> String {
    match &record.stop {
        Some(stop) => format!("{} stops it; its task is not gone yet", stop.by),
        None => "it is being stopped; its task is not gone yet".to_owned(),
    }
}

fn slowly(facts: &Facts, phases: &[(Phase, Duration)], slow: Phase) -> String {
    let time = time_span(time_of(phases, slow));
    match slow {
        Phase::Queued => {
            let name = facts.record.lock.as_ref().map_or("", |lock| lock.name.as_str());
            format!("it waited {time} for the lock `{name}`, longer than its command ran")
        }
        Phase::Starting => format!("its task took {time} to start, longer than its command ran"),
        Phase::Workspace => {
            format!("the directory to start in took {time} to prepare, longer than its command ran")
        }
        Phase::Command => format!("its command took {time}{}", usually(facts.usual)),
    }
}

fn usually(usual: Option<Usual>) -> String {
    usual.map_or_else(String::new, |usual| {
        format!(
            "; the last {} of it that succeeded took {}, in the median",
            usual.runs,
            time_span(usual.median)
        )
    })
}

fn ended(record: &Execution) -> String {
    let reason = record.status_reason.unwrap_or(Reason::Exited);
    let meaning = remedies::meaning(reason, record);
    let detail = match reason {
        // Its remedy is told as such.
        Reason::WorkspaceFailed => remedies::fault(record).map(|(what, _)| what),
        _ => record.status_detail.as_deref().and_then(|detail| detail.lines().next()),
    };
    match detail.filter(|detail| !detail.is_empty() && remedies::is_told_apart(reason)) {
        Some(detail) => format!("{meaning}: {detail}"),
        None => meaning,
    }
}

/// A length of time with its two largest units.
pub(super) fn time_span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        format!("{hours}h{minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else if seconds > 0 {
        format!("{seconds}.{}s", time.subsec_millis() / 100)
    } else {
        format!("{}ms", time.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_two_units() {
        let cases = [(0, "0ms"), (999, "999ms"), (1_260, "1.2s"), (61_500, "1m01s"), (7_380_000, "2h03m")];
        for (ms, want) in cases {
            assert_eq!(time_span(Duration::from_millis(ms)), want);
        }
    }
}
