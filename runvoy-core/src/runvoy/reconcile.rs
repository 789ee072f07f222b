//! What a crash left, and who mends it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use runvoy_task::TaskSpec;

mod report;

pub(super) use self::report::Found;
pub use self::report::ReconcileReport;
use self::report::{Amiss, Mended};
use super::locks::{Authorized, Entered};
use super::{Error, Runvoy};
use crate::execution::{Execution, Patch};
use crate::id::{ExecutionId, LockName};
use crate::limits;
use crate::locks::LockDocument;
use crate::port::{ListQuery, Refusal, Refused, TaskState};
use crate::state::Status;

/// Executions mended at once: a start that is slow keeps nobody else's stop waiting.
const CONCURRENCY: usize = 16;

/// How a pass goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcileOptions {
    /// How long the owner of a start attempt is left alone.
    pub attempt_silence: Duration,
    /// Since when there is no other process, for a server that locked its data directory then. Nobody is at what was
    /// begun before, and of a start of its own it knows by itself when there is no task any more.
    pub alone_since: Option<Timestamp>,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        Self { attempt_silence: limits::ATTEMPT_SILENCE, alone_since: None }
    }
}

impl ReconcileOptions {
    fn is_left_behind(&self, begun: Timestamp, now: Timestamp) -> bool {
        self.alone_since.is_some_and(|since| begun < since) || elapsed(begun, now) >= self.attempt_silence
    }
}

impl Runvoy {
    /// Finishes what somebody left half done. Safe at any time, from anywhere, any number of times at once.
    ///
    /// One execution that cannot be mended now does not keep the others waiting: it is counted and left for the next
    /// pass. Only a store that cannot list is an error; what does not need that store is mended all the same.
    pub async fn reconcile(&self, options: ReconcileOptions) -> Result<ReconcileReport, Error> {
        let mut report = ReconcileReport::default();
        let mut live = HashSet::new();
        let placed = self.in_lines().await;
        let mut query =
            ListQuery { statuses: Some(Status::LIVE.to_vec()), limit: limits::PAGE, ..ListQuery::default() };
        loop {
            let store = Error::store("the execution store");
            let page = self.inner.executions.list(&query).await.map_err(store)?;
            live.extend(page.executions.iter().map(|record| record.id));
            let next = page.next;
            self.reconcile_page(page.executions, placed.as_ref().ok(), options, &mut report).await;
            match next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let locks = self.reconcile_locks(&live, &mut report).await;
        self.record_owed_outcomes(options, &mut report).await?;
        placed.and(locks).map(|()| report)
    }

    /// Whoever ended an execution died before its outcome was in the audit log.
    async fn record_owed_outcomes(
        &self,
        options: ReconcileOptions,
        report: &mut ReconcileReport,
    ) -> Result<(), Error> {
        let owed = self.forgotten_outcomes().await?;
        let now = self.inner.clock.now();
        let is_late = |record: &&Execution| {
            // Another process may be at it.
            record.completed_at.is_none_or(|at| options.is_left_behind(at, now))
        };
        for record in owed.iter().filter(is_late) {
            if let Err(error) = self.record_outcome(record).await {
                report.failed += 1;
                tracing::warn!(execution.id = %record.id, error = %super::error_chain(&error), "outcome not recorded yet");
                report.note("execution", record.id.to_string(), Amiss::Left, error.to_string());
            }
        }
        Ok(())
    }

    /// Whoever holds a lock or waits for one.
    async fn in_lines(&self) -> Result<HashSet<ExecutionId>, Error> {
        let locks = self.inner.locks.list().await.map_err(Error::store("the lock store"))?;
        let of = |lock: &LockDocument| {
            let waiting = lock.waiters.iter().map(|waiter| waiter.execution);
            waiting.chain(lock.holder.as_ref().map(|holder| holder.execution)).collect::<Vec<_>>()
        };
        Ok(locks.iter().flat_map(|(_, lock)| of(lock)).collect())
    }

    /// Brings locks in line with what became of those who hold them and wait for them.
    async fn reconcile_locks(
        &self,
        live: &HashSet<ExecutionId>,
        report: &mut ReconcileReport,
    ) -> Result<(), Error> {
        let locks = self.inner.locks.list().await.map_err(Error::store("the lock store"))?;
        let mending = locks.into_iter().map(|(name, lock)| self.try_to_mend_lock(name, lock, live).boxed());
        let mended: Vec<_> = stream::iter(mending).buffer_unordered(CONCURRENCY).collect().await;
        for (name, handed_over) in mended {
            match handed_over {
                Ok(true) => report.handed_over += 1,
                Ok(false) => {}
                Err(error) => {
                    report.failed += 1;
                    report.note("lock", name.to_string(), Amiss::Left, error.to_string());
                }
            }
        }
        Ok(())
    }

    async fn try_to_mend_lock(
        &self,
        name: LockName,
        lock: Arc<LockDocument>,
        live: &HashSet<ExecutionId>,
    ) -> (LockName, Result<bool, Error>) {
        let mended = self.mend_lock(&name, &lock, live).await;
        if let Err(error) = &mended {
            tracing::warn!(lock.name = %name, error = %super::error_chain(error), "lock not mended yet");
        }
        (name, mended)
    }

    async fn mend_lock(
        &self,
        name: &LockName,
        lock: &LockDocument,
        live: &HashSet<ExecutionId>,
    ) -> Result<bool, Error> {
        for waiter in lock.waiters.iter().filter(|waiter| !live.contains(&waiter.execution)) {
            // Who ended while it waited, and did not come to say so.
            let store = Error::store("the execution store");
            let record = self.inner.executions.get(waiter.execution).await.map_err(store)?;
            if record.is_none_or(|record| record.status.is_terminal())
                && let Some(holder) = self.leave(name, waiter.execution).await?
            {
                self.pass_on(name, Some(holder)).await?;
            }
        }
        let Some(holder) = &lock.holder else { return Ok(false) };
        let store = Error::store("the execution store");
        let record = self.inner.executions.get(holder.execution).await.map_err(store)?;
        let is_waiting_for_us =
            record.is_none_or(|record| record.status.is_terminal() || record.status == Status::Queued);
        if is_waiting_for_us {
            self.pass_on(name, Some(holder.clone())).await?;
        }
        Ok(is_waiting_for_us)
    }

    async fn reconcile_page(
        &self,
        records: Vec<Execution>,
        placed: Option<&HashSet<ExecutionId>>,
        options: ReconcileOptions,
        report: &mut ReconcileReport,
    ) {
        // Who waits for a lock has no task.
        let (waiting, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.status == Status::Queued);
        let states = self.states(&others).await;
        let waiting = waiting.into_iter().map(|record| (record, TaskState::Pending));
        let mending = others.into_iter().zip(states).chain(waiting);
        let mending = mending.map(|(record, state)| self.try_to_mend(record, state, placed, options).boxed());
        let mended: Vec<_> = stream::iter(mending).buffer_unordered(CONCURRENCY).collect().await;
        for (id, mended) in mended {
            report.count(id, mended);
        }
    }

    async fn try_to_mend(
        &self,
        record: Execution,
        state: TaskState,
        placed: Option<&HashSet<ExecutionId>>,
        options: ReconcileOptions,
    ) -> (ExecutionId, Result<Mended, Error>) {
        let mended = self.mend(&record, &state, placed, options).await;
        if let Err(error) = &mended {
            tracing::warn!(execution.id = %record.id, error = %super::error_chain(error), "not mended yet");
        }
        (record.id, mended)
    }

    async fn states(&self, records: &[Execution]) -> Vec<TaskState> {
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        self.inner.executor.describe(&ids).await.unwrap_or_else(|error| {
            tracing::warn!(error = %super::error_chain(&error), "executor not available");
            vec![TaskState::Unknown; ids.len()]
        })
    }

    async fn mend(
        &self,
        record: &Execution,
        state: &TaskState,
        placed: Option<&HashSet<ExecutionId>>,
        options: ReconcileOptions,
    ) -> Result<Mended, Error> {
        let settled = self.settle(record, state).await?;
        if settled.status.is_terminal() {
            return Ok(Mended::Settled);
        }
        match settled.status {
            Status::Queued => self.mend_queued(&settled, placed, options).await,
            Status::Starting => self.mend_starting(&settled, state, options).await,
            Status::Running if self.is_overdue(&settled) && matches!(state, TaskState::Running { .. }) => {
                self.inner.executor.stop(settled.id, None).await?;
                Ok(Mended::Stopped)
            }
            Status::Terminating => {
                let after = self.end_terminating(&settled).await?;
                Ok(if after.status.is_terminal() { Mended::Settled } else { Mended::Stopped })
            }
            _ if settled == *record => Ok(Mended::Nothing),
            _ => Ok(Mended::Settled),
        }
    }

    async fn mend_queued(
        &self,
        record: &Execution,
        placed: Option<&HashSet<ExecutionId>>,
        options: ReconcileOptions,
    ) -> Result<Mended, Error> {
        let now = self.inner.clock.now();
        let Some(lock) = &record.lock else { return Ok(Mended::Nothing) };
        if elapsed(record.created_at, now) > Duration::from_secs(lock.max_wait) {
            let record = self.give_up_waiting(record).await?;
            return Ok(if record.status.is_terminal() { Mended::GivenUp } else { Mended::Nothing });
        }
        let is_in_line = placed.is_none_or(|placed| placed.contains(&record.id));
        if is_in_line || !options.is_left_behind(record.attempted_at, now) {
            return Ok(Mended::Nothing);
        }
        // Recorded, and then nobody asked for its lock; who has come to it since gets the same answer again.
        match self.enter(record, Authorized::Earlier).await? {
            Entered::In(record) if !record.status.is_terminal() => Ok(Mended::Started),
            Entered::In(_) | Entered::Held(_) | Entered::Full => Ok(Mended::GivenUp),
        }
    }

    async fn mend_starting(
        &self,
        record: &Execution,
        state: &TaskState,
        options: ReconcileOptions,
    ) -> Result<Mended, Error> {
        let now = self.inner.clock.now();
        // Whoever waited for a lock had nothing to start with before it was granted.
        let since = record.lock.as_ref().and_then(|lock| lock.granted_at).unwrap_or(record.created_at);
        if elapsed(since, now) > self.inner.config.start_timeout {
            let message = "the task did not start in time; look at the executor and run it again".to_owned();
            let record = self.give_up_start(record.id, &Refusal { of: Refused::Start, message }).await?;
            let record = self.after_start(record).await;
            return Ok(if record.status.is_terminal() { Mended::GivenUp } else { Mended::Nothing });
        }
        // Whoever is alone has nobody else's attempt to wait for, only its own.
        let is_gone = options.alone_since.is_some() && *state == TaskState::Gone;
        let is_gone = is_gone && elapsed(record.attempted_at, now) >= limits::GONE_SILENCE;
        if !is_gone && !options.is_left_behind(record.attempted_at, now) {
            return Ok(Mended::Nothing);
        }
        // Takes the attempt over, so that the next pass leaves it alone for a while.
        let mine = Patch { attempted_at: Some(now), ..Patch::default() };
        let record = self.transition(record.id, &[Status::Starting], &mine).await?;
        if record.status != Status::Starting {
            return Ok(Mended::Nothing);
        }
        let record = self.start_stored(&record).await?;
        let record = self.after_start(record).await;
        Ok(if record.status.is_terminal() { Mended::GivenUp } else { Mended::Started })
    }

    /// Whether a command runs although its agent should have ended it long ago. The agent counts from the command's start,
    /// the record from the claim: in between the code is fetched.
    pub(crate) fn is_overdue(&self, record: &Execution) -> bool {
        let code = if record.code.is_some() { TaskSpec::WORKSPACE_TIMEOUT_MS } else { 0 };
        let allowed = Duration::from_secs(record.timeout) + Duration::from_millis(code) + limits::OVERRUN;
        record.started_at.is_some_and(|started| elapsed(started, self.inner.clock.now()) > allowed)
    }
}

/// The time between two readings of clocks that may disagree: never negative.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).max(SignedDuration::ZERO).unsigned_abs()
}
