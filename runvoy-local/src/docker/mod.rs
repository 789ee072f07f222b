//! Commands in containers of a Docker engine, each with an agent as its first process that outlives the server.

mod container;
mod deaths;
mod describe;
mod engine;
mod error;
mod hand_over;
mod image;
mod jobs;
mod join;
mod probe;
mod pull;
mod refusal;
mod sayings;
mod start;
mod stop;
mod sweep;
mod turns;
mod watch;
mod word;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::SystemInfo;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::BoxStream;
use runvoy_core::clock::SharedClock;
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::ExecutionId;
use runvoy_core::limits;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, Progress, Refused, StartTask, TaskEvent, TaskState,
};
use runvoy_task::Network;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::deaths::Deaths;
pub use self::engine::DEFAULT_HOST;
use self::engine::{Engine, identity};
use self::jobs::Jobs;
use self::join::Joined;
pub use self::join::was_used;
use self::turns::Turns;
use crate::task_dir::follow::{Follower, Tasks};
use crate::task_dir::layout;
use crate::task_dir::note::Note;
use crate::task_dir::stops::Stops;
use crate::task_dir::{blocking, gate, space};

/// Containers that are started at the same time: more only get in each other's way.
const STARTS_AT_ONCE: usize = 8;

/// How commands are run.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// Where executions have their directories. Created if missing.
    pub root: PathBuf,
    /// The agent's executable: linked statically, for the engine's architecture.
    pub agent: PathBuf,
    /// Where the engine listens: `unix://…` or `tcp://…`.
    pub host: String,
    /// Free disk space, in percent, below which no run is accepted.
    pub least_free_disk: u64,
    /// The most processes that a container may have.
    pub max_processes: Option<u64>,
    /// Bytes after which a log continues in a further file.
    pub segment_bytes: u64,
    /// How checkouts reach their servers.
    pub network: Network,
    /// The directory of uploaded archives, each named by its SHA-256; uploads are refused if absent.
    pub code: Option<PathBuf>,
}

impl DockerConfig {
    /// Containers of the engine at the usual place.
    pub fn new(root: impl Into<PathBuf>, agent: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            agent: agent.into(),
            host: DEFAULT_HOST.to_owned(),
            least_free_disk: limits::FREE_DISK_PERCENT,
            max_processes: Some(4096),
            segment_bytes: 64 * 1024 * 1024,
            network: Network::default(),
            code: None,
        }
    }
}

/// Runs commands in containers of a Docker engine.
///
/// Everything that counts is in the execution's directory, in the agent and in the engine, so that a new executor over
/// the same root goes on where an earlier one ended. Dropping it stops its own tasks; the containers go on.
pub struct DockerExecutor {
    shared: Arc<Shared>,
    follower: Arc<Follower>,
    /// Stopped when dropped.
    _watching: JoinSet<()>,
}

struct Shared {
    engine: Engine,
    root: PathBuf,
    agent: PathBuf,
    least_free_disk: u64,
    max_processes: Option<u64>,
    segment_bytes: u64,
    network: Network,
    code: Option<PathBuf>,
    clock: SharedClock,
    /// Whether containers outlive the engine.
    outlived: AtomicBool,
    /// Which engine it is.
    identity: Mutex<String>,
    deaths: Deaths,
    stops: Stops,
    jobs: Jobs,
    /// One pull at a time of each image.
    pulls: Turns<String>,
    joined: Joined,
    turns: Semaphore,
}

impl DockerExecutor {
    /// An executor over a data directory and an engine, once that has shown that it sees the directory.
    ///
    /// An engine that does not answer is [`ExecutorError::Unavailable`], one that is of no use
    /// [`ExecutorError::Refused`], in words. To be called within a runtime.
    pub async fn connect(config: DockerConfig, clock: SharedClock) -> Result<Self, ExecutorError> {
        let shared = Shared::over(config, clock)?;
        join::join(&shared).await?;
        Self::watching(shared, JoinSet::new())
    }

    /// The same over an engine that does not answer now, for a data directory that [`was_used`] by one: commands wait
    /// until it does, and has shown that it sees the directory.
    pub fn connect_later(config: DockerConfig, clock: SharedClock) -> Result<Self, ExecutorError> {
        let shared = Shared::over(config, clock)?;
        let mut watching = JoinSet::new();
        watching.spawn(join::join_later(Arc::clone(&shared)));
        Self::watching(shared, watching)
    }

    fn watching(shared: Arc<Shared>, mut watching: JoinSet<()>) -> Result<Self, ExecutorError> {
        let follower = Follower::new(Arc::clone(&shared) as Arc<dyn Tasks>);
        let follower = Arc::new(follower.map_err(ExecutorError::unavailable)?);
        watching.spawn(watch::deaths(Arc::clone(&shared), Arc::clone(&follower)));
        watching.spawn(watch::sweeps(Arc::clone(&shared)));
        Ok(Self { shared, follower, _watching: watching })
    }
}

/// Starts under way have what they belong to in their hands, and would go on for ever.
impl Drop for DockerExecutor {
    fn drop(&mut self) {
        self.shared.jobs.abort();
    }
}

impl Shared {
    fn over(config: DockerConfig, clock: SharedClock) -> Result<Arc<Self>, ExecutorError> {
        let engine = Engine::new(&config.host)?;
        let shared = Self::new(engine, config, clock).map_err(|error| ExecutorError::Refused {
            of: Refused::Start,
            message: format!("commands cannot be run in containers: {error}"),
            source: Some(error.into()),
        })?;
        Ok(Arc::new(shared))
    }

    fn new(engine: Engine, config: DockerConfig, clock: SharedClock) -> io::Result<Self> {
        if !config.root.try_exists()? {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.root)?;
        }
        // The engine knows neither our working directory nor our links.
        let agent = config.agent.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), format!("no agent at {}: {error}", config.agent.display()))
        })?;
        Ok(Self {
            engine,
            root: config.root.canonicalize()?,
            agent,
            least_free_disk: config.least_free_disk,
            max_processes: config.max_processes,
            segment_bytes: config.segment_bytes,
            network: config.network,
            code: config.code.map(|code| code.canonicalize().unwrap_or(code)),
            clock,
            outlived: AtomicBool::new(false),
            identity: Mutex::default(),
            deaths: Deaths::default(),
            stops: Stops::default(),
            jobs: Jobs::default(),
            pulls: Turns::default(),
            joined: Joined::default(),
            turns: Semaphore::new(STARTS_AT_ONCE),
        })
    }

    /// Takes note of what an engine says of itself.
    fn note_engine(&self, info: &SystemInfo) {
        self.outlived.store(info.live_restore_enabled == Some(true), Ordering::Relaxed);
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity(info);
    }

    fn identity(&self) -> String {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default()
    }

    /// Whether the engine is to remove containers that have ended: also where no server is there to do it. Not one
    /// that containers outlive: when it restarts under them, it takes those that it is to remove for dead.
    fn leaves_removal_to_engine(&self) -> bool {
        !self.outlived.load(Ordering::Relaxed)
    }

    /// Sees to it that no container is told the command; then the gate decides, which no command has touched.
    fn revoke(&self, id: ExecutionId) -> io::Result<Claim> {
        let dir = layout::create(&self.root, id, 0o700)?;
        // One with a gate is a process's: no container is told what another agent has.
        if Note::read(&dir)?.is_none() && gate::read(&dir)?.is_none() {
            Note::Revoked.decide(&dir)?;
        }
        match Note::read(&dir)? {
            Some(Note::Told(_)) => Ok(Claim::Claimed),
            _ => gate::revoke(&dir, self.now_ms()),
        }
    }
}

impl Tasks for Shared {
    fn root(&self) -> &Path {
        &self.root
    }

    /// The command can write one while it runs: the engine tells when it is over.
    fn believes_end_records(&self) -> bool {
        false
    }

    fn look(
        self: Arc<Self>,
        id: ExecutionId,
        _hold: bool,
    ) -> BoxFuture<'static, (TaskState, Option<OwnedFd>)> {
        // The engine's own news tell when a container dies: there is nothing to hold.
        async move {
            let states = describe::describe(&self, &[id]).await.unwrap_or_default();
            (states.into_iter().next().unwrap_or(TaskState::Unknown), None)
        }
        .boxed()
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            images: true,
            resources: true,
            workspaces: true,
            shorter_grace: true,
            ..Capabilities::default()
        }
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        self.shared.joined.admit()?;
        self.shared.engine.ping().await?;
        space::admit(&self.shared.root, self.shared.least_free_disk).await
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let id = task.id;
        if let Some(refusal) = self.shared.jobs.refusal(id) {
            return Err(ExecutorError::Refused { of: refusal.of, message: refusal.message, source: None });
        }
        let shared = Arc::clone(&self.shared);
        if blocking(move || start::prepare(&shared.root, id)).await? {
            self.follower.follow(id);
            let (shared, follower, task) =
                (Arc::clone(&self.shared), Arc::clone(&self.follower), task.clone());
            self.shared.jobs.spawn(id, async move {
                shared.joined.wait().await;
                start::run(shared, follower, task).await;
            });
        }
        Ok(None)
    }

    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.revoke(id)).await
    }

    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        stop::stop(&self.shared, id, grace).await
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let states = describe::describe(&self.shared, ids).await?;
        for (id, state) in ids.iter().zip(&states) {
            // Found by a server that did not start it.
            if matches!(state, TaskState::Pending | TaskState::Running { .. } | TaskState::Unknown) {
                self.follower.follow(*id);
            }
        }
        Ok(states)
    }

    fn progress(&self, id: ExecutionId) -> Option<Progress> {
        self.shared.jobs.progress(id)
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        self.follower.events()
    }
}
