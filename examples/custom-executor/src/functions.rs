use std::sync::{Arc, Mutex, PoisonError};
use std::{collections::HashMap, time::Duration};

use futures_util::future::BoxFuture;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::port::{Claim, Executor, ExecutorError, StartTask, TaskExit, TaskState};
use runvoy_core::{execution::TaskHandle, id::ExecutionId};
use runvoy_task::{CommandLine, EndReason};

/// Commands that are functions of this program, by name; each answers its exit code.
pub(crate) struct Functions(pub(crate) fn(&str) -> Option<BoxFuture<'static, i32>>, pub(crate) Gates);

/// The start gates: whoever makes an entry first has decided. `None` is a revocation.
type Gates = Mutex<HashMap<ExecutionId, Option<(Arc<Mutex<TaskState>>, tokio::task::AbortHandle)>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Executor for Functions {
    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let refused = || ExecutorError::refused("there is no such function");
        let CommandLine::Shell(name) = &task.request.command else { return Err(refused()) };
        let work = (self.0)(name).ok_or_else(refused)?;
        lock(&self.1).entry(task.id).or_insert_with(|| {
            let started_at = SystemClock.now();
            let running =
                TaskState::Running { started_at, handle: None, image_digest: None, is_preparing: false };
            let state = Arc::new(Mutex::new(running));
            let run = tokio::spawn(tokio::time::timeout(task.request.timeout, work));
            let job = (Arc::clone(&state), run.abort_handle());
            tokio::spawn(async move {
                let (code, reason) = match run.await {
                    Ok(Ok(code)) => (code, EndReason::Exited),
                    Ok(Err(_)) => (124, EndReason::TimedOut),
                    Err(_) => (143, EndReason::Stopped),
                };
                let exit = TaskExit::new(Some(code), reason, started_at, SystemClock.now());
                *lock(&state) = TaskState::Exited(Box::new(exit));
            });
            Some(job)
        });
        Ok(None)
    }
    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        Ok(if lock(&self.1).entry(id).or_insert(None).is_some() { Claim::Claimed } else { Claim::Revoked })
    }
    async fn stop(&self, id: ExecutionId, _grace: Option<Duration>) -> Result<(), ExecutorError> {
        // A future cannot ignore that it is no longer polled, so there is nothing to wait for.
        lock(&self.1).get(&id).into_iter().flatten().for_each(|(_, abort)| abort.abort());
        Ok(())
    }
    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let gates = lock(&self.1);
        let jobs = ids.iter().map(|id| gates.get(id)?.as_ref());
        Ok(jobs.map(|job| job.map_or(TaskState::Gone, |job| lock(&job.0).clone())).collect())
    }
}
