//! The life of an execution, as one table that code and documentation share.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ParseIdError;

/// Where an execution is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Accepted; it waits for its lock.
    Queued,
    /// Accepted; its task has not claimed the command yet.
    Starting,
    /// Its task has claimed the command.
    Running,
    /// Somebody asked for its end; its task may still run.
    Terminating,
    /// The command ended with code 0.
    Succeeded,
    /// The command ended with another code, or never ran.
    Failed,
    /// It was stopped.
    Stopped,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Terminating,
        Self::Succeeded,
        Self::Failed,
        Self::Stopped,
    ];

    /// Every status in which a task may run, or may yet start.
    pub const LIVE: [Self; 4] = [Self::Queued, Self::Starting, Self::Running, Self::Terminating];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Terminating => "TERMINATING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
        }
    }

    /// Whether nothing follows, and no task can run the command any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(ParseIdError("unknown status"))
    }
}

/// Why an execution has the status it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The command ended by itself.
    Exited,
    /// Somebody killed it.
    Killed,
    /// It ran longer than its timeout.
    TimedOut,
    /// It wrote more log than allowed.
    LogLimit,
    /// It used more memory than allowed.
    OomKilled,
    /// Its workspace could not be prepared.
    WorkspaceFailed,
    /// It could not be started.
    StartFailed,
    /// Its image could not be had.
    ImageUnavailable,
    /// Its task vanished.
    Lost,
    /// Its task was stopped by somebody who did not ask Runvoy.
    StoppedOutside,
    /// Its lock was held, and the caller did not want to wait.
    LockHeld,
    /// It waited too long for its lock.
    QueueTimeout,
    /// It was no longer allowed when its turn came.
    Denied,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Exited,
        Self::Killed,
        Self::TimedOut,
        Self::LogLimit,
        Self::OomKilled,
        Self::WorkspaceFailed,
        Self::StartFailed,
        Self::ImageUnavailable,
        Self::Lost,
        Self::StoppedOutside,
        Self::LockHeld,
        Self::QueueTimeout,
        Self::Denied,
    ];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Killed => "killed",
            Self::TimedOut => "timed_out",
            Self::LogLimit => "log_limit",
            Self::OomKilled => "oom_killed",
            Self::WorkspaceFailed => "workspace_failed",
            Self::StartFailed => "start_failed",
            Self::ImageUnavailable => "image_unavailable",
            Self::Lost => "lost",
            Self::StoppedOutside => "stopped_outside",
            Self::LockHeld => "lock_held",
            Self::QueueTimeout => "queue_timeout",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(ParseIdError("unknown reason"))
    }
}

/// One row of the table: a step that an execution may take.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// From here; `None` before there is a record.
    pub from: Option<Status>,
    /// To here.
    pub to: Status,
    /// With one of these reasons; empty where none is recorded.
    pub reasons: &'static [Reason],
    /// When, in words.
    pub when: &'static str,
}

/// Every step there is.
pub const STEPS: &[Step] = &[
    step(None, Status::Starting, &[], "it wants no lock"),
    step(None, Status::Queued, &[], "it wants a lock, and has not got it yet"),
    step(Some(Status::Queued), Status::Starting, &[], "the lock was granted"),
    step(Some(Status::Queued), Status::Stopped, &[Reason::Killed], "killed while it waited"),
    step(
        Some(Status::Queued),
        Status::Failed,
        &[Reason::LockHeld, Reason::QueueTimeout, Reason::Denied],
        "its lock is held and it does not wait; it waited too long; it is no longer allowed",
    ),
    step(Some(Status::Starting), Status::Running, &[], "the task claimed its spec"),
    step(Some(Status::Starting), Status::Terminating, &[], "killed before the claim was seen"),
    step(
        Some(Status::Starting),
        Status::Failed,
        &[Reason::StartFailed, Reason::ImageUnavailable, Reason::Lost],
        "the claim is revoked: the command never runs",
    ),
    step(Some(Status::Running), Status::Succeeded, &[Reason::Exited], "the command ended with code 0"),
    step(
        Some(Status::Running),
        Status::Failed,
        &[
            Reason::Exited,
            Reason::TimedOut,
            Reason::OomKilled,
            Reason::WorkspaceFailed,
            Reason::LogLimit,
            Reason::StartFailed,
            Reason::Lost,
        ],
        "the task ended in another way",
    ),
    step(Some(Status::Running), Status::Terminating, &[], "killed"),
    step(Some(Status::Running), Status::Stopped, &[Reason::StoppedOutside], "stopped from outside Runvoy"),
    step(Some(Status::Terminating), Status::Stopped, &[Reason::Killed], "the task can no longer run"),
];

const fn step(from: Option<Status>, to: Status, reasons: &'static [Reason], when: &'static str) -> Step {
    Step { from, to, reasons, when }
}

/// Whether the table has a step from `from` to `to` for `reason`.
///
/// Staying where one is, without a reason, is no step and always allowed: it records a detail.
///
/// ```
/// use runvoy_core::state::{Reason, Status, allows};
///
/// assert!(allows(Some(Status::Running), Status::Succeeded, Some(Reason::Exited)));
/// assert!(!allows(Some(Status::Succeeded), Status::Running, None));
/// ```
pub fn allows(from: Option<Status>, to: Status, reason: Option<Reason>) -> bool {
    if from == Some(to) && !to.is_terminal() {
        return reason.is_none();
    }
    STEPS.iter().any(|step| {
        step.from == from
            && step.to == to
            && match reason {
                Some(reason) => step.reasons.contains(&reason),
                None => step.reasons.is_empty(),
            }
    })
}

/// The table as Markdown, as `docs/ARCHITECTURE.md` shows it.
pub fn markdown() -> String {
    let mut out = String::from("| from | to | `status_reason` | when |\n| --- | --- | --- | --- |\n");
    for step in STEPS {
        let from = step.from.map_or("new", Status::as_str);
        let reasons: Vec<_> = step.reasons.iter().map(|reason| format!("`{reason}`")).collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "| {from} | {} | {} | {} |", step.to, reasons.join(", "), step.when);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_terminal_status() {
        for from in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            for to in Status::ALL {
                for reason in Reason::ALL.into_iter().map(Some).chain([None]) {
                    assert!(!allows(Some(from), to, reason), "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn every_terminal_step_has_a_reason() {
        for step in STEPS.iter().filter(|step| step.to.is_terminal()) {
            assert!(!step.reasons.is_empty(), "{step:?}");
        }
    }

    #[test]
    fn every_live_status_can_end() {
        for status in Status::LIVE {
            let mut reachable = vec![status];
            let mut at = 0;
            while let Some(from) = reachable.get(at).copied() {
                let next = STEPS.iter().filter(|step| step.from == Some(from)).map(|step| step.to);
                let new: Vec<_> = next.filter(|to| !reachable.contains(to)).collect();
                reachable.extend(new);
                at += 1;
            }
            assert!(reachable.iter().any(|status| status.is_terminal()), "{status}");
        }
    }

    #[test]
    fn names_read_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
