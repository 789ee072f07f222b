use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, StartTask, TaskEvent, TaskExit, TaskState,
};
use runvoy_task::{CommandLine, EndReason};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// A command: it answers its exit code.
pub(crate) type Function = fn() -> BoxFuture<'static, i32>;

/// What became of an execution. That it has an entry at all is its start gate: whoever makes it first has decided.
enum Entry {
    Revoked,
    Task { state: TaskState, abort: AbortHandle, grace: Duration },
}

type Entries = Mutex<HashMap<ExecutionId, Entry>>;

/// Runs commands that are functions of this program, by name, each as a Tokio task.
///
/// The stop signal of a future is that it is no longer polled: it cannot ignore it, so the grace is time to end by itself.
pub(crate) struct Functions {
    functions: HashMap<&'static str, Function>,
    entries: Arc<Entries>,
    news: broadcast::Sender<TaskEvent>,
}

impl Functions {
    pub(crate) fn new(functions: impl IntoIterator<Item = (&'static str, Function)>) -> Self {
        let functions = functions.into_iter().collect();
        Self { functions, entries: Arc::default(), news: broadcast::channel(1024).0 }
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<ExecutionId, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Executor for Functions {
    fn capabilities(&self) -> Capabilities {
        Capabilities { shorter_grace: true, ..Capabilities::default() }
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let name = match &task.request.command {
            CommandLine::Shell(line) => line.trim(),
            CommandLine::Args(args) => args.first().map_or("", String::as_str),
        };
        let function = *self.functions.get(name).ok_or_else(|| ExecutorError::Refused {
            message: format!("there is no function `{name}`"),
            source: None,
        })?;
        let (id, timeout, grace) = (task.id, task.request.timeout, task.request.grace);
        let mut entries = lock(&self.entries);
        // A second start finds the first one's entry, and a late one the revocation: the command runs at most once.
        entries.entry(id).or_insert_with(|| {
            let started_at = SystemClock.now();
            let run = tokio::spawn(async move { tokio::time::timeout(timeout, function()).await });
            let abort = run.abort_handle();
            let (entries, news) = (Arc::clone(&self.entries), self.news.clone());
            tokio::spawn(async move {
                let (exit_code, reason) = match run.await {
                    Ok(Ok(code)) => (Some(code), EndReason::Exited),
                    Ok(Err(_)) => (Some(124), EndReason::TimedOut),
                    Err(stopped) if stopped.is_cancelled() => (Some(143), EndReason::Stopped),
                    Err(_panicked) => (Some(134), EndReason::Exited),
                };
                let finished_at = SystemClock.now();
                let exit = TaskExit { exit_code, reason, message: None, started_at, finished_at, log: None };
                let exited = TaskState::Exited(Box::new(exit));
                if let Some(Entry::Task { state, .. }) = lock(&entries).get_mut(&id) {
                    *state = exited.clone();
                }
                // Nobody may be listening: `describe` tells it too.
                let _ = news.send(TaskEvent { id, state: exited });
            });
            let state = TaskState::Running { started_at, handle: None };
            let _ = self.news.send(TaskEvent { id, state: state.clone() });
            Entry::Task { state, abort, grace }
        });
        Ok(None)
    }

    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        match lock(&self.entries).entry(id).or_insert(Entry::Revoked) {
            Entry::Revoked => Ok(Claim::Revoked),
            Entry::Task { .. } => Ok(Claim::Claimed),
        }
    }

    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        if let Some(Entry::Task { abort, grace: own, .. }) = lock(&self.entries).get(&id) {
            let (abort, grace) = (abort.clone(), grace.unwrap_or(*own));
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                abort.abort();
            });
        }
        Ok(())
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let entries = lock(&self.entries);
        let state = |id| match entries.get(id) {
            Some(Entry::Task { state, .. }) => state.clone(),
            // Never started, or revoked. A start that comes now is a new one, and passes the gate or does not.
            Some(Entry::Revoked) | None => TaskState::Gone,
        };
        Ok(ids.iter().map(state).collect())
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        let next = |mut news: broadcast::Receiver<TaskEvent>| async move {
            loop {
                match news.recv().await {
                    Ok(event) => return Some((event, news)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        stream::unfold(self.news.subscribe(), next).boxed()
    }
}
