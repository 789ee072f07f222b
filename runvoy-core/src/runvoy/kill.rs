use std::time::Duration;

use super::{Caller, Error, Runvoy};
use crate::execution::{Execution, Patch, StopOrder};
use crate::id::{ExecutionId, IdPrefix};
use crate::port::{Action, Claim, Resource};
use crate::state::{Reason, Status};

/// What a kill did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillOutcome {
    /// The end is under way, or already there.
    Initiated(Execution),
    /// There was nothing to do: somebody killed it before, or it had ended.
    AlreadyOver(Execution),
}

impl Runvoy {
    /// Stops an execution; `grace` in place of the run's own is the time until `SIGKILL`.
    ///
    /// Answers once the order is recorded. What cannot be delivered now is repeated by
    /// [`reconcile`](Self::reconcile) until the task is gone.
    pub async fn kill(
        &self,
        caller: &Caller,
        id: &IdPrefix,
        grace: Option<Duration>,
    ) -> Result<KillOutcome, Error> {
        let record = self.find_for(caller, Action::KillExecution, id).await?;
        let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
        let granted = self.authorize(caller, Action::KillExecution, resource, None).await?;
        if grace.is_some_and(|grace| grace > crate::limits::MAX_GRACE) {
            let message = format!("at most {} seconds", crate::limits::MAX_GRACE.as_secs());
            return Err(Error::invalid("grace", message));
        }
        if record.status.is_terminal() || (record.status == Status::Terminating && grace.is_none()) {
            return Ok(KillOutcome::AlreadyOver(record));
        }
        self.record(granted, None, None).await?;
        let (this, caller) = (self.clone(), caller.clone());
        self.although_the_caller_goes(async move { this.order_stop(&caller, record, grace).await }).await
    }

    pub(crate) async fn order_stop(
        &self,
        caller: &Caller,
        mut record: Execution,
        grace: Option<Duration>,
    ) -> Result<KillOutcome, Error> {
        let noted = self.stop_noted(caller, grace);
        // Each round either applies the change or finds a later status, so a few rounds reach the last one.
        for _ in 0..4 {
            let from = record.status;
            let patch = match from {
                Status::Queued => self.killed_in_line(&noted),
                Status::Starting | Status::Running => {
                    Patch { status: Some(Status::Terminating), ..noted.clone() }
                }
                // A second kill may be less patient than the first.
                Status::Terminating => noted.clone(),
                _ => return Ok(KillOutcome::AlreadyOver(record)),
            };
            record = if from == Status::Queued {
                self.finish(record.id, &[from], &patch).await?
            } else {
                self.transition(record.id, &[from], &patch).await?
            };
            if record.stop == noted.stop {
                let record = self.carry_out_stop(record).await;
                return Ok(if from == Status::Terminating {
                    KillOutcome::AlreadyOver(record)
                } else {
                    KillOutcome::Initiated(record)
                });
            }
        }
        Ok(KillOutcome::AlreadyOver(record))
    }

    /// Who ordered a stop, and when.
    fn stop_noted(&self, caller: &Caller, grace: Option<Duration>) -> Patch {
        let (by, at) = (caller.user.clone(), self.inner.clock.now());
        let order = StopOrder { by, at, grace: grace.map(|grace| grace.as_secs()) };
        Patch { stop: Some(order), request_id: Some(caller.context.request_id), ..Patch::default() }
    }

    /// Nothing of it runs, so the order is its end.
    fn killed_in_line(&self, noted: &Patch) -> Patch {
        Patch {
            status: Some(Status::Stopped),
            reason: Some(Reason::Killed),
            completed_at: Some(self.inner.clock.now()),
            ..noted.clone()
        }
    }

    /// Ends an execution that has not begun; one that has stays as it is.
    pub(crate) async fn kill_in_line(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, Error> {
        let patch = self.killed_in_line(&self.stop_noted(caller, None));
        self.finish(id, &[Status::Queued], &patch).await
    }

    /// Delivers a recorded order; a failure is left to `reconcile`, since the order stands.
    async fn carry_out_stop(&self, record: Execution) -> Execution {
        match self.end_terminating(&record).await {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(execution.id = %record.id, error = %super::error_chain(&error), "stop not delivered yet");
                record
            }
        }
    }

    /// Brings a TERMINATING execution nearer its end. Idempotent.
    pub(crate) async fn end_terminating(&self, record: &Execution) -> Result<Execution, Error> {
        if record.status != Status::Terminating {
            return Ok(record.clone());
        }
        match self.inner.executor.revoke(record.id).await? {
            Claim::Revoked => self.stopped(record.id, None).await,
            Claim::Claimed => {
                let grace = record.stop.as_ref().and_then(|stop| stop.grace).map(Duration::from_secs);
                self.inner.executor.stop(record.id, grace).await?;
                Ok(record.clone())
            }
        }
    }
}
