//! One attempt to start a task, for a first try, a replay and a repair alike.

use std::collections::BTreeMap;

use super::hand_out::{self, HandOut};
use super::{Error, Runvoy};
use crate::execution::{Execution, Patch, StartRequest};
use crate::id::ExecutionId;
use crate::in_flight::InFlightGuard;
use crate::port::{Claim, ExecutorError, Refusal, Refused, StartTask, Transition};
use crate::state::{Reason, Status};

impl Runvoy {
    /// Asks the executor for a task.
    ///
    /// An executor that cannot be reached leaves the execution STARTING, for [`reconcile`](Runvoy::reconcile) to try
    /// again. One that refuses for good ends it, once the start gate is closed.
    pub(crate) async fn start(&self, record: &Execution, request: StartRequest) -> Result<Execution, Error> {
        let given = match self.hand_out(record, &request).await {
            Ok(HandOut::Given(given)) => given,
            Ok(HandOut::Refused(refusal)) => return self.give_up_start(record.id, &refusal).await,
            Ok(HandOut::Overtaken(record)) => return Ok(*record),
            Err(error) => {
                tracing::warn!(execution.id = %record.id, error = %crate::runvoy::error_chain(&error), "task not started yet");
                return Ok(record.clone());
            }
        };
        let mut task = self.task(record, request);
        hand_out::put_into(&mut task, given);
        match self.inner.executor.start(&task).await {
            Ok(None) => Ok(record.clone()),
            Ok(Some(handle)) => {
                let patch = Patch { task: Some(handle), ..Patch::default() };
                self.transition(record.id, &[Status::Starting, Status::Running], &patch).await
            }
            Err(ExecutorError::Refused { of, message, source }) => {
                tracing::warn!(execution.id = %record.id, error = source.as_deref().map(tracing::field::display), "task refused: {message}");
                self.give_up_start(record.id, &Refusal { of, message }).await
            }
            Err(error) => {
                tracing::warn!(execution.id = %record.id, error = %crate::runvoy::error_chain(&error), "task not started yet");
                Ok(record.clone())
            }
        }
    }

    /// A start that ended its execution gives the lock to whoever is next.
    pub(crate) async fn after_start(&self, record: Execution) -> Execution {
        if record.status.is_terminal() {
            self.free_lock(&record).await;
        }
        record
    }

    /// Ends an execution whose command has not been claimed; one that has been stays as it is. Does not free its lock:
    /// see [`after_start`](Self::after_start).
    pub(crate) async fn give_up_start(&self, id: ExecutionId, why: &Refusal) -> Result<Execution, Error> {
        match self.inner.executor.revoke(id).await? {
            Claim::Claimed => self.settle_claimed(id).await,
            Claim::Revoked => {
                let patch = Patch {
                    reason: Some(match why.of {
                        Refused::Image => Reason::ImageUnavailable,
                        Refused::Start => Reason::StartFailed,
                    }),
                    detail: Some(why.message.clone()),
                    completed_at: Some(self.inner.clock.now()),
                    ..Patch::to(Status::Failed)
                };
                self.end(id, &[Status::Starting], &patch).await
            }
        }
    }

    /// Changes a record and wakes who waits for it; answers the record as it is then, changed or not.
    pub(crate) async fn transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Execution, Error> {
        match self.try_transition(id, from, patch).await? {
            Transition::Applied(record) | Transition::Refused(record) => Ok(*record),
        }
    }

    /// Changes a record and wakes who waits for it; says whether it did.
    pub(crate) async fn try_transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Transition, Error> {
        let store = Error::store("the execution store");
        let done = self.inner.executions.transition(id, from, patch).await.map_err(store)?;
        if let Transition::Applied(_) = done {
            self.inner.changes.wake(id);
        }
        Ok(done)
    }

    /// Writes a terminal status, and what became of the run, once; then the lock goes to whoever is next.
    pub(crate) async fn finish(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Execution, Error> {
        let record = self.end(id, from, patch).await?;
        if record.status.is_terminal() {
            self.free_lock(&record).await;
        }
        Ok(record)
    }

    /// Writes a terminal status, and what became of the run, once. An outcome that the audit log does not take now is
    /// owed to it, and paid by [`reconcile`](Runvoy::reconcile).
    pub(crate) async fn end(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Execution, Error> {
        let telling = self.inner.telling.begin(id);
        match self.try_transition(id, from, patch).await? {
            Transition::Applied(record) => {
                self.tell_outcome(telling, (*record).clone()).await;
                Ok(*record)
            }
            Transition::Refused(record) => Ok(*record),
        }
    }

    /// To its end, also if whoever saw the end of the run stops meanwhile: else it would stand there twice.
    async fn tell_outcome(&self, telling: InFlightGuard, record: Execution) {
        let (this, id) = (self.clone(), record.id);
        let told = self.although_the_caller_goes(async move {
            let _telling = telling;
            this.record_outcome(&record).await
        });
        if let Err(error) = told.await {
            tracing::warn!(execution.id = %id, error = %super::error_chain(&error), "outcome not recorded yet");
        }
    }

    fn task(&self, record: &Execution, request: StartRequest) -> StartTask {
        let reserved = [
            ("RUNVOY_COMMAND", record.command.clone()),
            ("RUNVOY_EXECUTION_ID", record.id.to_string()),
            ("RUNVOY_USER", record.created_by.to_string()),
        ];
        let lock = record.lock.as_ref().and_then(|lock| Some((lock.name.to_string(), lock.token?)));
        let lock =
            lock.map(|(name, token)| [("RUNVOY_LOCK_NAME", name), ("RUNVOY_LOCK_TOKEN", token.to_string())]);
        let reserved = reserved.into_iter().chain(lock.into_iter().flatten());
        let reserved_env: BTreeMap<_, _> = reserved.map(|(name, value)| (name.to_owned(), value)).collect();
        StartTask {
            id: record.id,
            request,
            secrets: BTreeMap::new(),
            reserved_env,
            workspace: None,
            mask: Vec::new(),
            user: record.created_by.clone(),
            log_limit: self.inner.config.log_limit,
        }
    }
}
