//! Where the time of an execution went.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Facts;
use crate::execution::Execution;
use crate::state::Status;

/// A part of an execution's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It waited for its lock.
    Queued,
    /// Its task was being started.
    Starting,
    /// The directory to start in was being prepared.
    Workspace,
    /// Its command ran.
    Command,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Starting, Self::Workspace, Self::Command];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Workspace => "workspace",
            Self::Command => "command",
        }
    }
}

/// How long each phase took. They follow each other without a gap, from when it was accepted to its end, or to now.
pub(super) fn of(facts: &Facts) -> Vec<(Phase, Duration)> {
    let record = &facts.record;
    let end = record.completed_at.unwrap_or(facts.now);
    let granted = record.lock.as_ref().map(|lock| lock.granted_at);
    let mut phases = Vec::new();
    if let Some(granted_at) = granted {
        phases.push((Phase::Queued, between(record.created_at, granted_at.unwrap_or(end))));
    }
    if granted == Some(None) || record.status == Status::Queued {
        return phases;
    }
    let begun = granted.flatten().unwrap_or(record.created_at);
    let Some(claimed_at) = record.started_at else {
        phases.push((Phase::Starting, between(begun, end)));
        return phases;
    };
    let measured = |phase: Phase| {
        let timing = facts.measured.iter().find(|timing| timing.phase == phase.as_str());
        timing.map(|timing| (phase, Duration::from_millis(timing.ms)))
    };
    if facts.measured.is_empty() {
        phases.push((Phase::Starting, between(begun, claimed_at)));
        let phase = if facts.is_preparing { Phase::Workspace } else { Phase::Command };
        phases.push((phase, between(claimed_at, end)));
        return phases;
    }
    let known: Vec<_> = [Phase::Workspace, Phase::Command].into_iter().filter_map(measured).collect();
    let inside = known.iter().map(|(_, time)| *time).sum();
    phases.push((Phase::Starting, between(begun, end).saturating_sub(inside)));
    phases.extend(known);
    phases
}

/// How long an ended execution's task had the command.
pub(super) fn of_task(record: &Execution) -> Option<Duration> {
    Some(between(record.started_at?, record.completed_at?))
}

/// Clocks of several machines may disagree: never negative.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).max(SignedDuration::ZERO).unsigned_abs()
}
