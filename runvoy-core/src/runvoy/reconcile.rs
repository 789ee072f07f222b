//! What a crash left, and who mends it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Error, Runvoy};
use crate::execution::{Execution, Patch};
use crate::limits;
use crate::port::{ListQuery, Refusal, Refused, TaskState};
use crate::state::Status;

/// How a pass goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcileOptions {
    /// How long the owner of a start attempt is left alone. Zero for whoever knows that there is no other: a
    /// server that has just locked its data directory.
    pub attempt_silence: Duration,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        Self { attempt_silence: limits::ATTEMPT_SILENCE }
    }
}

/// What a pass found and mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconcileReport {
    /// Live executions looked at.
    pub checked: u64,
    /// Brought in line with what their task was.
    pub settled: u64,
    /// Started again.
    pub started: u64,
    /// Told to stop, again.
    pub stopped: u64,
    /// Given up.
    pub given_up: u64,
    /// Left for the next pass, because something did not answer.
    pub failed: u64,
}

/// What was done about one execution.
enum Mended {
    Nothing,
    Settled,
    Started,
    Stopped,
    GivenUp,
}

impl Runvoy {
    /// Finishes what somebody left half done. Safe at any time, from anywhere, any number of times at once.
    ///
    /// One execution that cannot be mended now does not keep the others waiting: it is counted and left for the next
    /// pass. Only a store that cannot list is an error.
    pub async fn reconcile(&self, options: ReconcileOptions) -> Result<ReconcileReport, Error> {
        let mut report = ReconcileReport::default();
        let mut query =
            ListQuery { statuses: Some(Status::LIVE.to_vec()), limit: limits::PAGE, ..ListQuery::default() };
        loop {
            let store = Error::store("the execution store");
            let page = self.inner.executions.list(&query).await.map_err(store)?;
            self.reconcile_page(&page.executions, options, &mut report).await;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(report),
            }
        }
    }

    async fn reconcile_page(
        &self,
        records: &[Execution],
        options: ReconcileOptions,
        report: &mut ReconcileReport,
    ) {
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        let states = match self.inner.executor.describe(&ids).await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(error = %super::error_chain(&error), "executor not available");
                vec![TaskState::Unknown; ids.len()]
            }
        };
        for (record, state) in records.iter().zip(&states) {
            report.checked += 1;
            match self.mend(record, state, options).await {
                Ok(Mended::Nothing) => {}
                Ok(Mended::Settled) => report.settled += 1,
                Ok(Mended::Started) => report.started += 1,
                Ok(Mended::Stopped) => report.stopped += 1,
                Ok(Mended::GivenUp) => report.given_up += 1,
                Err(error) => {
                    report.failed += 1;
                    tracing::warn!(execution.id = %record.id, error = %super::error_chain(&error), "not mended yet");
                }
            }
        }
    }

    async fn mend(
        &self,
        record: &Execution,
        state: &TaskState,
        options: ReconcileOptions,
    ) -> Result<Mended, Error> {
        let settled = self.settle(record, state).await?;
        if settled.status.is_terminal() {
            return Ok(Mended::Settled);
        }
        match settled.status {
            Status::Starting => self.mend_starting(&settled, options).await,
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

    async fn mend_starting(&self, record: &Execution, options: ReconcileOptions) -> Result<Mended, Error> {
        let now = self.inner.clock.now();
        if elapsed(record.created_at, now) > self.inner.config.start_timeout {
            let message = "the task did not start in time; look at the executor and run it again".to_owned();
            let record = self.give_up_start(record.id, &Refusal { of: Refused::Start, message }).await?;
            return Ok(if record.status.is_terminal() { Mended::GivenUp } else { Mended::Nothing });
        }
        if elapsed(record.attempted_at, now) < options.attempt_silence {
            return Ok(Mended::Nothing);
        }
        // Takes the attempt over, so that the next pass leaves it alone for a while.
        let mine = Patch { attempted_at: Some(now), ..Patch::default() };
        let record = self.transition(record.id, &[Status::Starting], &mine).await?;
        if record.status != Status::Starting {
            return Ok(Mended::Nothing);
        }
        match self.stored_request(record.id).await? {
            Some(request) => {
                let record = self.start(&record, request).await?;
                Ok(if record.status.is_terminal() { Mended::GivenUp } else { Mended::Started })
            }
            None => Ok(Mended::Nothing),
        }
    }

    /// Whether a command runs although its agent should have ended it long ago.
    pub(crate) fn is_overdue(&self, record: &Execution) -> bool {
        let allowed = Duration::from_secs(record.timeout) + limits::OVERRUN;
        record.started_at.is_some_and(|started| elapsed(started, self.inner.clock.now()) > allowed)
    }
}

/// The time between two readings of clocks that may disagree: never negative.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).max(SignedDuration::ZERO).unsigned_abs()
}
