//! A platform whose tasks start late, twice or never, as the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use runvoy_core::clock::Clock as _;
use runvoy_core::execution::{Container, TaskHandle};
use runvoy_core::gate::StartGate;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, Progress, StartTask, TaskEvent, TaskExit, TaskState,
    TaskWorkspace,
};
use runvoy_core::secrets::SecretValue;
use runvoy_core::testing::ManualClock;
use runvoy_task::EndReason;

/// What the platform has of one execution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    gate: StartGate,
    /// Tasks that were started and have not reached the gate.
    pub(crate) pending: u32,
    pub(crate) running: bool,
    stopping: bool,
    exit: Option<TaskExit>,
    /// What it was last started in.
    pub(crate) container: Option<Container>,
    /// How often the command was run.
    pub(crate) runs: u32,
    /// What each task was started with: secrets by variable, and what is to be masked.
    pub(crate) given: Vec<(BTreeMap<String, SecretValue>, Vec<String>)>,
    /// What the last task was to put into its working directory.
    pub(crate) workspace: Option<TaskWorkspace>,
}

pub(crate) struct World {
    jobs: Mutex<BTreeMap<ExecutionId, Job>>,
    clock: Arc<ManualClock>,
    /// Nobody can tell what is going on.
    fog: Mutex<bool>,
    /// Whether tasks run in images.
    images: AtomicBool,
    /// Whether tasks start in an empty directory only.
    bare: AtomicBool,
    /// How far all starts are.
    progress: Mutex<Option<Progress>>,
}

impl World {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            jobs: Mutex::default(),
            clock,
            fog: Mutex::new(false),
            images: AtomicBool::new(false),
            bare: AtomicBool::new(false),
            progress: Mutex::default(),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Job>> {
        self.jobs.lock().unwrap()
    }

    pub(crate) fn job(&self, id: ExecutionId) -> Job {
        self.jobs().get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<ExecutionId> {
        self.jobs().keys().copied().collect()
    }

    pub(crate) fn set_fog(&self, fog: bool) {
        *self.fog.lock().unwrap() = fog;
    }

    pub(crate) fn set_images(&self) {
        self.images.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_bare(&self) {
        self.bare.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_progress(&self, progress: Option<Progress>) {
        *self.progress.lock().unwrap() = progress;
    }

    /// A pending task reaches the gate.
    pub(crate) fn claim(&self, id: ExecutionId) {
        let mut jobs = self.jobs();
        let Some(job) = jobs.get_mut(&id).filter(|job| job.pending > 0) else { return };
        job.pending -= 1;
        if job.gate.claim() {
            job.running = true;
            job.runs += 1;
        }
    }

    /// A pending task dies before it reaches the gate.
    pub(crate) fn never(&self, id: ExecutionId) {
        if let Some(job) = self.jobs().get_mut(&id) {
            job.pending = job.pending.saturating_sub(1);
        }
    }

    /// The running command ends by itself, or by the signal it was sent.
    pub(crate) fn exit(&self, id: ExecutionId, code: i32) {
        let now = self.clock.now();
        if let Some(job) = self.jobs().get_mut(&id).filter(|job| job.running) {
            job.running = false;
            job.exit = Some(TaskExit::new(
                Some(if job.stopping { 143 } else { code }),
                if job.stopping { EndReason::Stopped } else { EndReason::Exited },
                now,
                now,
            ));
        }
    }

    /// The running task is gone, and nobody knows why.
    pub(crate) fn vanish(&self, id: ExecutionId) {
        if let Some(job) = self.jobs().get_mut(&id) {
            job.running = false;
        }
    }

    pub(crate) fn state(&self, id: ExecutionId) -> TaskState {
        if *self.fog.lock().unwrap() {
            return TaskState::Unknown;
        }
        let job = self.job(id);
        match (job.gate.decided(), job.exit) {
            (_, Some(exit)) => TaskState::Exited(Box::new(exit)),
            (Some(Claim::Claimed), None) if job.running => TaskState::Running {
                started_at: self.clock.now(),
                handle: None,
                image_digest: None,
                is_preparing: false,
            },
            (None, None) if job.pending > 0 => TaskState::Pending,
            (_, None) => TaskState::Gone,
        }
    }

    /// Whether a stop is under way.
    pub(crate) fn is_stopping(&self, id: ExecutionId) -> bool {
        self.job(id).stopping
    }
}

#[async_trait]
impl Executor for World {
    fn capabilities(&self) -> Capabilities {
        let images = self.images.load(Ordering::Relaxed);
        Capabilities {
            images,
            resources: images,
            workspaces: !self.bare.load(Ordering::Relaxed),
            ..Capabilities::default()
        }
    }
    fn progress(&self, _id: ExecutionId) -> Option<Progress> {
        self.progress.lock().unwrap().clone()
    }
    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }
    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let mut jobs = self.jobs();
        let job = jobs.entry(task.id).or_default();
        job.pending += 1;
        job.container = Some(task.request.container.clone());
        job.given.push((task.secrets.clone(), task.mask.clone()));
        job.workspace.clone_from(&task.workspace);
        Ok(Some(TaskHandle(format!("task of {}", task.id))))
    }
    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        Ok(self.jobs().entry(id).or_default().gate.revoke())
    }
    async fn stop(&self, id: ExecutionId, _grace: Option<Duration>) -> Result<(), ExecutorError> {
        self.jobs().entry(id).or_default().stopping = true;
        Ok(())
    }
    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        Ok(ids.iter().map(|id| self.state(*id)).collect())
    }
    fn events(&self) -> BoxStream<'static, TaskEvent> {
        stream::pending().boxed()
    }
}
