use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use runvoy_core::clock::SharedClock;
use runvoy_core::execution::TaskHandle;
use runvoy_core::gate::StartGate;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::Stream;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, StartTask, TaskEvent, TaskExit, TaskState,
};
use runvoy_task::EndReason;
use tokio::sync::broadcast;

use super::MemoryLogs;
use crate::news;

/// Events that a slow listener may be behind; older ones are lost to it.
const BACKLOG: usize = 1024;
/// What a command that is stopped exits with: 128 and `SIGTERM`.
const TERMINATED: i32 = 143;

/// What a task does.
#[derive(Clone, Debug)]
pub struct Script {
    /// What its command writes, in order.
    pub output: Vec<(Stream, Bytes)>,
    /// What its command exits with, at once; `None` for one that runs until it is stopped.
    pub exit_code: Option<i32>,
}

impl Default for Script {
    /// Writes nothing and succeeds.
    fn default() -> Self {
        Self { output: Vec::new(), exit_code: Some(0) }
    }
}

type ScriptOf = Box<dyn Fn(&StartTask) -> Script + Send + Sync>;

/// Tells the tasks of an execution apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskNumber(u64);

/// A task that has not tried to claim its command yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTask {
    /// Its name.
    pub task: TaskNumber,
    /// Whose command it would run.
    pub id: ExecutionId,
}

/// An executor in memory, which runs nothing: tasks follow a script, or a test by hand.
///
/// Clones share one world, as several servers share a platform.
#[derive(Clone)]
pub struct ScriptedExecutor(Arc<World>);

struct World {
    logs: Arc<MemoryLogs>,
    clock: SharedClock,
    /// `None`: by hand.
    script: Option<ScriptOf>,
    tasks: Mutex<Tasks>,
    events: broadcast::Sender<TaskEvent>,
}

#[derive(Default)]
struct Tasks {
    started: u64,
    pending: BTreeMap<TaskNumber, ExecutionId>,
    executions: HashMap<ExecutionId, Job>,
}

#[derive(Default)]
struct Job {
    gate: StartGate,
    command: CommandState,
    runs: u64,
    stops: Vec<Option<Duration>>,
    is_unknown: bool,
}

#[derive(Default)]
enum CommandState {
    #[default]
    NotRun,
    Running(Timestamp),
    Exited(Box<TaskExit>),
    Vanished,
}

impl ScriptedExecutor {
    /// Tasks claim at once, write nothing and succeed.
    pub fn new(logs: Arc<MemoryLogs>, clock: SharedClock) -> Self {
        Self::with_script(logs, clock, |_| Script::default())
    }

    /// Tasks claim at once and do what `script` says.
    pub fn with_script(
        logs: Arc<MemoryLogs>,
        clock: SharedClock,
        script: impl Fn(&StartTask) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::of(logs, clock, Some(Box::new(script)))
    }

    /// Tasks do nothing of their own accord: see [`claim`](Self::claim), [`exit`](Self::exit) and the like.
    pub fn manual(logs: Arc<MemoryLogs>, clock: SharedClock) -> Self {
        Self::of(logs, clock, None)
    }

    fn of(logs: Arc<MemoryLogs>, clock: SharedClock, script: Option<ScriptOf>) -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        Self(Arc::new(World { logs, clock, script, tasks: Mutex::default(), events }))
    }

    /// Started tasks that have not tried to claim, in the order of their start.
    pub fn pending(&self) -> Vec<PendingTask> {
        self.tasks().pending.iter().map(|(task, id)| PendingTask { task: *task, id: *id }).collect()
    }

    /// Lets a pending task try to claim its command. Whether it runs it now; if not, the task is over.
    pub fn claim(&self, task: TaskNumber) -> bool {
        let mut tasks = self.tasks();
        let Some(id) = tasks.pending.remove(&task) else { return false };
        let job = tasks.executions.entry(id).or_default();
        if !job.gate.claim() {
            return false;
        }
        let started_at = self.0.clock.now();
        job.command = CommandState::Running(started_at);
        job.runs += 1;
        self.tell(
            id,
            TaskState::Running { started_at, handle: None, image_digest: None, is_preparing: false },
        );
        true
    }

    /// Lets a pending task die before it claims. Whether there was one.
    pub fn discard(&self, task: TaskNumber) -> bool {
        self.tasks().pending.remove(&task).is_some()
    }

    /// Lets a running command exit. Whether there was one.
    pub fn exit(&self, id: ExecutionId, code: i32) -> bool {
        self.end(id, code, EndReason::Exited)
    }

    /// Lets a command end with a code, for a reason. Whether there was one.
    pub fn end(&self, id: ExecutionId, code: i32, reason: EndReason) -> bool {
        let mut tasks = self.tasks();
        let Some(job) = tasks.executions.get_mut(&id) else { return false };
        let CommandState::Running(started_at) = job.command else { return false };
        let exit = Box::new(TaskExit::new(Some(code), reason, started_at, self.0.clock.now()));
        // The log first, as everywhere: who sees the exit may read all of it.
        self.0.logs.writer(id).end();
        job.command = CommandState::Exited(exit.clone());
        self.tell(id, TaskState::Exited(exit));
        true
    }

    /// Lets a running task vanish without a trace. Whether there was one.
    pub fn vanish(&self, id: ExecutionId) -> bool {
        let mut tasks = self.tasks();
        let Some(job) = tasks.executions.get_mut(&id) else { return false };
        if !matches!(job.command, CommandState::Running(_)) {
            return false;
        }
        job.command = CommandState::Vanished;
        self.tell(id, TaskState::Gone);
        true
    }

    /// Makes `describe` say [`TaskState::Unknown`] of an execution, or ends that.
    pub fn set_unknown(&self, id: ExecutionId, is_unknown: bool) {
        self.tasks().executions.entry(id).or_default().is_unknown = is_unknown;
    }

    /// How often an execution's command ran.
    pub fn runs(&self, id: ExecutionId) -> u64 {
        self.tasks().executions.get(&id).map_or(0, |job| job.runs)
    }

    /// Executions whose command runs, in no order.
    pub fn running(&self) -> Vec<ExecutionId> {
        let tasks = self.tasks();
        let running =
            tasks.executions.iter().filter(|(_, job)| matches!(job.command, CommandState::Running(_)));
        running.map(|(id, _)| *id).collect()
    }

    /// The graces that running commands of an execution were stopped with, in order.
    pub fn stops(&self, id: ExecutionId) -> Vec<Option<Duration>> {
        self.tasks().executions.get(&id).map_or_else(Vec::new, |job| job.stops.clone())
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, id: ExecutionId, state: TaskState) {
        // Nobody may be listening.
        let _ = self.0.events.send(TaskEvent { id, state });
    }

    fn play(&self, id: ExecutionId, script: Script) {
        let writer = self.0.logs.writer(id);
        for (stream, bytes) in script.output {
            writer.append(stream, bytes);
        }
        if let Some(code) = script.exit_code {
            self.exit(id, code);
        }
    }
}

impl Tasks {
    fn describe(&self, id: ExecutionId) -> TaskState {
        let is_pending = self.pending.values().any(|other| *other == id);
        let Some(job) = self.executions.get(&id).filter(|job| !job.is_unknown) else {
            return if self.executions.contains_key(&id) { TaskState::Unknown } else { TaskState::Gone };
        };
        match &job.command {
            CommandState::NotRun if is_pending && job.gate.decided().is_none() => TaskState::Pending,
            CommandState::NotRun | CommandState::Vanished => TaskState::Gone,
            CommandState::Running(started_at) => TaskState::Running {
                started_at: *started_at,
                handle: None,
                image_digest: None,
                is_preparing: false,
            },
            CommandState::Exited(exit) => TaskState::Exited(exit.clone()),
        }
    }
}

#[async_trait]
impl Executor for ScriptedExecutor {
    fn capabilities(&self) -> Capabilities {
        Capabilities { workspaces: true, shorter_grace: true, ..Capabilities::default() }
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let number = {
            let mut tasks = self.tasks();
            tasks.started += 1;
            let number = TaskNumber(tasks.started);
            tasks.executions.entry(task.id).or_default();
            tasks.pending.insert(number, task.id);
            number
        };
        if let Some(script) = &self.0.script
            && self.claim(number)
        {
            self.play(task.id, script(task));
        }
        Ok(None)
    }

    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        let mut tasks = self.tasks();
        Ok(tasks.executions.entry(id).or_default().gate.revoke())
    }

    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        let is_running = self.tasks().executions.get_mut(&id).is_some_and(|job| {
            let is_running = matches!(job.command, CommandState::Running(_));
            job.stops.extend(is_running.then_some(grace));
            is_running
        });
        if is_running && self.0.script.is_some() {
            self.end(id, TERMINATED, EndReason::Stopped);
        }
        Ok(())
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let tasks = self.tasks();
        Ok(ids.iter().map(|id| tasks.describe(*id)).collect())
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        news::listen(&self.0.events)
    }
}
