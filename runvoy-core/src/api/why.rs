use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HolderData;
use crate::Why;
use crate::id::{ExecutionId, LockName};
use crate::state::{Reason, Status};

/// `GET /executions/{id}/why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct WhyAnswer {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// Why.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub status_reason: Option<Reason>,
    /// The answer in a word: `waits`, `starts`, `runs`, `stops`, `succeeded`, `slow`, `denied`, `failed`, `stopped`.
    pub verdict: String,
    /// The answer in a sentence.
    pub summary: String,
    /// What to do about it; `null` where there is nothing to do.
    pub remedy: Option<String>,
    /// What it waits for, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingData>,
    /// The policy that forbade it when its turn came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How long each phase took, in their order; what it never came to is not there.
    pub phases: Vec<PhaseData>,
    /// The phase that was slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<String>,
    /// How long such runs took: while it waits, the last under its lock; else those of the same command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<UsualData>,
}

/// A place in the line for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct WaitingData {
    /// The lock.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub lock: LockName,
    /// 1 for the next; 0 for one that has just been made the holder.
    pub position: usize,
    /// Who holds it.
    pub holder: Option<HolderData>,
    /// Since when it waits.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub since: Timestamp,
    /// Seconds that it waits at most.
    pub max_wait: u64,
}

/// A phase: `queued`, `starting`, `workspace`, `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct PhaseData {
    /// Which.
    pub phase: String,
    /// Milliseconds that it took, or has taken so far.
    pub ms: u64,
}

/// How long such runs took that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct UsualData {
    /// The median, in milliseconds.
    pub median_ms: u64,
    /// Of how many.
    pub runs: usize,
}

impl WhyAnswer {
    /// An answer as clients see it.
    pub fn new(why: &Why) -> Self {
        let record = &why.execution;
        let waiting = why.waiting.as_ref().zip(record.lock.as_ref()).map(|(waiting, lock)| WaitingData {
            lock: lock.name.clone(),
            position: waiting.position,
            holder: waiting.holder.as_ref().map(HolderData::from),
            since: record.created_at,
            max_wait: lock.max_wait,
        });
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let phases = why.phases.iter();
        Self {
            execution_id: record.id,
            status: record.status,
            status_reason: record.status_reason,
            verdict: why.finding.as_str().to_owned(),
            summary: why.summary.clone(),
            remedy: why.remedy.clone(),
            waiting,
            policy: record.lock.as_ref().and_then(|lock| lock.denied_by.clone()),
            phases: phases
                .map(|(phase, time)| PhaseData { phase: phase.as_str().to_owned(), ms: ms(*time) })
                .collect(),
            slow: why.slow.map(|phase| phase.as_str().to_owned()),
            usual: why.usual.map(|usual| UsualData { median_ms: ms(usual.median), runs: usual.runs }),
        }
    }
}
