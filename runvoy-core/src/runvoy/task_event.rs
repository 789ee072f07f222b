//! One idempotent path for everything an executor reports.

use runvoy_task::EndReason;

use super::{Error, Runvoy};
use crate::execution::{Execution, Patch};
use crate::id::ExecutionId;
use crate::port::{Claim, Refusal, TaskEvent, TaskExit, TaskState};
use crate::state::{Reason, Status};

impl Runvoy {
    /// Takes news of a task. Repeated, late and reordered news do no harm; neither do those of unknown executions.
    pub async fn on_task_event(&self, event: &TaskEvent) -> Result<(), Error> {
        if event.state == TaskState::Pending {
            // Its progress is not in the record: whoever follows looks again.
            self.inner.changes.wake(event.id);
            return Ok(());
        }
        let store = Error::store("the execution store");
        let Some(record) = self.inner.executions.get(event.id).await.map_err(store)? else {
            tracing::warn!(execution.id = %event.id, "news of a task without a record");
            return Ok(());
        };
        self.settle(&record, &event.state).await.map(|_| ())
    }

    /// Brings a record in line with what its task is, and answers the record as it is then.
    pub(crate) async fn settle(&self, record: &Execution, state: &TaskState) -> Result<Execution, Error> {
        if record.status.is_terminal() {
            return Ok(record.clone());
        }
        match state {
            TaskState::Pending | TaskState::Unknown => Ok(record.clone()),
            TaskState::Running { started_at, handle, image_digest, .. } => {
                let claimed = Patch {
                    started_at: Some(*started_at),
                    task: handle.clone(),
                    image_digest: image_digest.clone(),
                    ..Patch::default()
                };
                self.note_claim(record, claimed).await
            }
            TaskState::Refused(why) => self.settle_refused(record, why).await,
            TaskState::Exited(exit) => self.settle_exit(record, exit).await,
            TaskState::Gone => self.settle_gone(record).await,
        }
    }

    /// Records that the command was claimed.
    async fn note_claim(&self, record: &Execution, claimed: Patch) -> Result<Execution, Error> {
        match record.status {
            Status::Starting => {
                let running = Patch { status: Some(Status::Running), ..claimed };
                self.transition(record.id, &[Status::Starting], &running).await
            }
            Status::Terminating if !record.is_claimed() => {
                self.transition(record.id, &[Status::Terminating], &claimed).await
            }
            _ => Ok(record.clone()),
        }
    }

    /// What never claimed its command ends, once nothing can claim it any more.
    async fn settle_refused(&self, record: &Execution, why: &Refusal) -> Result<Execution, Error> {
        match record.status {
            Status::Starting => {
                let record = Box::pin(self.give_up_start(record.id, why)).await?;
                Ok(self.after_start(record).await)
            }
            Status::Terminating => self.settle_gone(record).await,
            _ => Ok(record.clone()),
        }
    }

    async fn settle_exit(&self, record: &Execution, exit: &TaskExit) -> Result<Execution, Error> {
        let claimed = Patch { started_at: Some(exit.started_at), ..Patch::default() };
        let record = self.note_claim(record, claimed).await?;
        if record.status.is_terminal() {
            // The same news, told at the same time by somebody else.
            return Ok(record);
        }
        if exit.reason == EndReason::WorkspaceFailed {
            self.doubt_code(record.code.as_ref()).await;
        }
        let (status, reason) = self.outcome(&record, exit);
        let patch = Patch {
            reason: Some(reason),
            detail: exit.message.clone().or_else(|| explain(&record, reason)),
            exit_code: exit.exit_code,
            started_at: record.started_at.is_none().then_some(exit.started_at),
            completed_at: Some(exit.finished_at.max(record.created_at)),
            log: exit.log.clone(),
            image_digest: exit.image_digest.clone(),
            commit: exit.commit.clone(),
            ..Patch::to(status)
        };
        let record = self.finish(record.id, &[record.status], &patch).await?;
        if record.status.is_terminal() {
            return Ok(record);
        }
        // Somebody asked for the end in between: the same exit has another name now.
        let patch = Patch {
            reason: Some(Reason::Killed),
            detail: None,
            ..Patch { status: Some(Status::Stopped), ..patch }
        };
        self.finish(record.id, &[Status::Terminating], &patch).await
    }

    fn outcome(&self, record: &Execution, exit: &TaskExit) -> (Status, Reason) {
        if record.status == Status::Terminating {
            return (Status::Stopped, Reason::Killed);
        }
        match exit.reason {
            EndReason::Exited if exit.exit_code == Some(0) => (Status::Succeeded, Reason::Exited),
            EndReason::Exited => (Status::Failed, Reason::Exited),
            EndReason::TimedOut => (Status::Failed, Reason::TimedOut),
            EndReason::LogLimit => (Status::Failed, Reason::LogLimit),
            EndReason::OomKilled => (Status::Failed, Reason::OomKilled),
            EndReason::WorkspaceFailed => (Status::Failed, Reason::WorkspaceFailed),
            EndReason::StartFailed => (Status::Failed, Reason::StartFailed),
            EndReason::Lost => (Status::Failed, Reason::Lost),
            EndReason::Stopped if self.is_overdue(record) => (Status::Failed, Reason::TimedOut),
            EndReason::Stopped | EndReason::StoppedOutside => (Status::Stopped, Reason::StoppedOutside),
        }
    }

    /// The task is gone. That ends an execution only if no other task can have the command: the gate tells.
    async fn settle_gone(&self, record: &Execution) -> Result<Execution, Error> {
        match record.status {
            // News may be late, and of a task that died before another one claimed the command.
            Status::Running => match self.describe_one(record.id).await? {
                TaskState::Gone => self.lose(record).await,
                TaskState::Exited(exit) => self.settle_exit(record, &exit).await,
                _ => Ok(record.clone()),
            },
            Status::Terminating => match self.inner.executor.revoke(record.id).await? {
                Claim::Revoked => self.stopped(record.id, None).await,
                Claim::Claimed => self.stopped_if_gone(record).await,
            },
            // Nobody claimed it: `reconcile` starts it again.
            _ => Ok(record.clone()),
        }
    }

    /// A command was claimed although nobody had seen it: what the platform says now decides.
    pub(crate) async fn settle_claimed(&self, id: ExecutionId) -> Result<Execution, Error> {
        let record = self.get_record(id).await?;
        let claimed = Patch { started_at: Some(record.attempted_at), ..Patch::default() };
        let record = self.note_claim(&record, claimed).await?;
        let state = self.describe_one(id).await?;
        Box::pin(self.settle(&record, &state)).await
    }

    async fn lose(&self, record: &Execution) -> Result<Execution, Error> {
        let patch = Patch {
            reason: Some(Reason::Lost),
            detail: explain(record, Reason::Lost),
            completed_at: Some(self.inner.clock.now()),
            ..Patch::to(Status::Failed)
        };
        let record = self.finish(record.id, &[Status::Running], &patch).await?;
        if record.status == Status::Terminating { self.stopped(record.id, None).await } else { Ok(record) }
    }

    /// The claim was there, so only what the platform says now counts: a start may have come in late.
    async fn stopped_if_gone(&self, record: &Execution) -> Result<Execution, Error> {
        match self.describe_one(record.id).await? {
            TaskState::Gone => self.stopped(record.id, Some(record)).await,
            TaskState::Exited(exit) => self.settle_exit(record, &exit).await,
            _ => Ok(record.clone()),
        }
    }

    /// Writes the end of a killed execution whose task can no longer run.
    pub(crate) async fn stopped(
        &self,
        id: ExecutionId,
        claimed: Option<&Execution>,
    ) -> Result<Execution, Error> {
        let patch = Patch {
            reason: Some(Reason::Killed),
            // When exactly it started nobody can tell any more; that it did matters to readers of its log.
            started_at: claimed.and_then(|record| record.started_at.is_none().then_some(record.attempted_at)),
            completed_at: Some(self.inner.clock.now()),
            ..Patch::to(Status::Stopped)
        };
        self.finish(id, &[Status::Terminating], &patch).await
    }

    pub(crate) async fn describe_one(&self, id: ExecutionId) -> Result<TaskState, Error> {
        let states = self.inner.executor.describe(&[id]).await?;
        Ok(states.into_iter().next().unwrap_or(TaskState::Unknown))
    }
}

/// The reason in words, for those that need some.
fn explain(record: &Execution, reason: Reason) -> Option<String> {
    match reason {
        Reason::TimedOut => Some(format!(
            "the command ran longer than its timeout of {} s; give it more with `--timeout`",
            record.timeout
        )),
        Reason::OomKilled => {
            Some("the command needed more memory than it may have; give it more with `--memory`".to_owned())
        }
        Reason::LogLimit => Some("the command wrote more log than is kept; redirect its output to a file".to_owned()),
        Reason::Lost => Some(
            "the command's supervisor vanished, by a reboot, lack of memory or a signal; look at the log and run it again"
                .to_owned(),
        ),
        _ => None,
    }
}
