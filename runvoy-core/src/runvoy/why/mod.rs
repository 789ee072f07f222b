//! Why an execution is where it is: the facts are gathered here, what follows from them is a pure function.

mod answer;
mod phases;
mod remedies;
mod words;

use std::time::Duration;

use jiff::Timestamp;
use runvoy_task::PhaseTiming;

pub use phases::Phase;

use super::{Caller, Error, Runvoy, Waiting};
use crate::execution::Execution;
use crate::id::IdPrefix;
use crate::port::{ListQuery, TaskState};
use crate::state::Status;

/// How many of the last runs under a lock tell how long such runs take.
const LAST_RUNS: usize = 20;
/// How many of somebody's last runs are looked through for the same command.
const LOOKED_THROUGH: usize = 100;

/// What there is to say of an execution, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// It waits for its lock.
    Waits,
    /// Its task has not claimed the command yet.
    Starts,
    /// Its command runs, as it should.
    Runs,
    /// It was told to stop, and is not gone yet.
    Stops,
    /// It succeeded, as it should.
    Succeeded,
    /// It succeeded or runs, but takes longer than it should.
    Slow,
    /// It was no longer allowed when its turn came.
    Denied,
    /// It failed.
    Failed,
    /// It was stopped.
    Stopped,
}

impl Finding {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Starts => "starts",
            Self::Runs => "runs",
            Self::Stops => "stops",
            Self::Succeeded => "succeeded",
            Self::Slow => "slow",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// How long such runs took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// The median, from the claim of a command to its end.
    pub median: Duration,
    /// Of how many.
    pub runs: usize,
}

/// Why an execution is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The record.
    pub execution: Execution,
    /// The answer in a word.
    pub finding: Finding,
    /// The answer in a sentence.
    pub summary: String,
    /// What to do about it, where there is something to do.
    pub remedy: Option<String>,
    /// Where it stands in line, while it does.
    pub waiting: Option<Waiting>,
    /// How long each phase took, or has taken so far, in their order. What it never came to is not there.
    pub phases: Vec<(Phase, Duration)>,
    /// The phase that was slow.
    pub slow: Option<Phase>,
    /// How long such runs took: while it waits, the last ones under its lock; else those of the same command. `None`
    /// where none succeeded.
    pub usual: Option<Usual>,
}

/// All that an answer is made of.
struct Facts {
    record: Execution,
    waiting: Option<Waiting>,
    usual: Option<Usual>,
    /// What the agent measured; empty unless it came to its end.
    measured: Vec<PhaseTiming>,
    /// Whether its command has not begun, since the directory to start in is being prepared.
    is_preparing: bool,
    start_timeout: Duration,
    now: Timestamp,
}

impl Runvoy {
    /// Says why an execution waits, was denied, failed or was slow. Whoever may read its record may ask; nothing of its
    /// log is told.
    pub async fn why(&self, caller: &Caller, id: &IdPrefix) -> Result<Why, Error> {
        let record = self.execution(caller, id).await?;
        let (measured, is_preparing) = self.told_by_agent(&record).await;
        let facts = Facts {
            measured,
            is_preparing,
            waiting: self.waiting(&record).await?,
            usual: self.usual(&record).await?,
            start_timeout: self.inner.config.start_timeout,
            now: self.inner.clock.now(),
            record,
        };
        Ok(answer::answer(facts))
    }

    /// How long the last comparable runs took that succeeded. Costs a page of a listing.
    async fn usual(&self, record: &Execution) -> Result<Option<Usual>, Error> {
        let lock = record.lock.as_ref().map(|lock| lock.name.clone());
        let query = ListQuery {
            statuses: Some(vec![Status::Succeeded]),
            user: lock.is_none().then(|| record.created_by.clone()),
            lock,
            limit: LOOKED_THROUGH,
            ..ListQuery::default()
        };
        let page = self.inner.executions.list(&query).await.map_err(Error::store("the execution store"))?;
        // Who waits, waits for whatever others do under the lock.
        let is_alike = |other: &&Execution| {
            other.id != record.id && (record.status == Status::Queued || does_the_same(other, record))
        };
        let alike = page.executions.iter().filter(is_alike);
        Ok(median(alike.filter_map(phases::of_task).take(LAST_RUNS).collect()))
    }

    /// What the agent measured, and whether it prepares. An executor that cannot tell now leaves the times of the record.
    async fn told_by_agent(&self, record: &Execution) -> (Vec<PhaseTiming>, bool) {
        let is_over = record.status.is_terminal() && record.is_claimed();
        let may_prepare = record.status == Status::Running && record.code.is_some();
        if !is_over && !may_prepare {
            return (Vec::new(), false);
        }
        match self.describe_one(record.id).await {
            Ok(TaskState::Exited(exit)) if is_over => (exit.phases, false),
            Ok(TaskState::Running { is_preparing, .. }) => (Vec::new(), is_preparing),
            _ => (Vec::new(), false),
        }
    }
}

/// The same command in the same image on the same repository.
fn does_the_same(one: &Execution, other: &Execution) -> bool {
    one.command == other.command && one.image_id == other.image_id && place(one) == place(other)
}

fn place(record: &Execution) -> Option<(&str, Option<&str>)> {
    let git = record.code.as_ref()?.git()?;
    Some((&git.repo, git.path.as_deref()))
}

fn median(mut times: Vec<Duration>) -> Option<Usual> {
    times.sort_unstable();
    let median = *times.get(times.len() / 2)?;
    Some(Usual { median, runs: times.len() })
}
