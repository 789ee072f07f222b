//! Commands as processes of this machine, each supervised by an agent that outlives the server.

mod describe;
mod processes;
mod start;
mod stop;
mod trash;
mod user;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::BoxStream;
use runvoy_core::clock::SharedClock;
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::ExecutionId;
use runvoy_core::in_flight::InFlight;
use runvoy_core::limits;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, Reach, Refused, StartTask, TaskEvent, TaskState,
};
use runvoy_task::{GateState, Isolation, Network, RunAs};

use self::describe::Known;
use self::processes::Held;
use self::trash::{Emptying, Trash};
use crate::task_dir::follow::{Follower, Tasks};
use crate::task_dir::layout::{self, execution_dir};
use crate::task_dir::note::Note;
use crate::task_dir::stops::Stops;
use crate::task_dir::{blocking, gate, space};

/// How commands are run.
#[derive(Clone)]
pub struct ProcessConfig {
    /// Where executions have their directories. Created if missing.
    pub root: PathBuf,
    /// The agent's executable.
    pub agent: PathBuf,
    /// Variables that every command gets and any run may set otherwise: `PATH`, `HOME`, `LANG` ...
    pub base_env: BTreeMap<String, String>,
    /// The user that commands run as; the server's own if absent. Only root can make them somebody else.
    pub run_as: Option<String>,
    /// Free disk space, in percent, below which no run is accepted.
    pub least_free_disk: u64,
    /// The most processes that a command's user may have, all together. Binds nobody who is root.
    pub max_processes: Option<u64>,
    /// Bytes after which a log continues in a further file.
    pub segment_bytes: u64,
    /// How the processes of a command are fenced in.
    pub isolation: Isolation,
    /// How checkouts reach their servers.
    pub network: Network,
    /// The directory of uploaded archives, each named by its SHA-256; uploads are refused if absent.
    pub code: Option<PathBuf>,
}

impl ProcessConfig {
    /// Commands of the server's own user, with an empty base environment.
    pub fn new(root: impl Into<PathBuf>, agent: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            agent: agent.into(),
            base_env: BTreeMap::new(),
            run_as: None,
            least_free_disk: limits::FREE_DISK_PERCENT,
            max_processes: None,
            segment_bytes: 64 * 1024 * 1024,
            isolation: Isolation::Auto,
            network: Network::default(),
            code: None,
        }
    }
}

/// Runs commands as processes of this machine.
///
/// Everything that counts is in the execution's directory and in the agent, so that a new executor over the same
/// root goes on where an earlier one ended. Dropping it stops its own tasks; the agents, and what they run, go on.
pub struct ProcessExecutor {
    shared: Arc<Shared>,
    follower: Follower,
    _emptying: Emptying,
}

struct Shared {
    root: PathBuf,
    agent: PathBuf,
    base_env: BTreeMap<String, String>,
    run_as: Option<RunAs>,
    least_free_disk: u64,
    max_processes: Option<u64>,
    segment_bytes: u64,
    isolation: Isolation,
    network: Network,
    code: Option<PathBuf>,
    boot_id: String,
    clock: SharedClock,
    stops: Stops,
    /// Agents of this server's own, those that it is about to start included. A process that has just become an agent does
    /// not show yet what it is: its parent knows.
    children: InFlight,
    trash: Arc<Trash>,
}

impl ProcessExecutor {
    /// An executor over a data directory. To be called within a runtime.
    pub fn new(config: ProcessConfig, clock: SharedClock) -> Result<Self, ExecutorError> {
        let shared = Shared::new(config, clock).map_err(|error| ExecutorError::Refused {
            of: Refused::Start,
            message: format!("commands cannot be run as processes: {error}"),
            source: Some(error.into()),
        })?;
        let shared = Arc::new(shared);
        let follower =
            Follower::new(Arc::clone(&shared) as Arc<dyn Tasks>).map_err(ExecutorError::unavailable)?;
        let emptying = Emptying::start(Arc::clone(&shared.trash));
        Ok(Self { shared, follower, _emptying: emptying })
    }
}

impl Shared {
    fn new(config: ProcessConfig, clock: SharedClock) -> io::Result<Self> {
        let account = config.run_as.as_deref().map(user::resolve).transpose()?;
        let (run_as, own_env) = account.map(|account| (account.run_as, account.env)).unzip();
        let mode = dir_mode(run_as.as_ref());
        if !config.root.try_exists()? {
            fs::DirBuilder::new().recursive(true).mode(mode).create(&config.root)?;
        }
        // Agents are told apart by this path, and run elsewhere.
        let root = config.root.canonicalize()?;
        if let Some(user) = &run_as {
            let mode = fs::metadata(&root)?.permissions().mode();
            fs::set_permissions(&root, fs::Permissions::from_mode(mode | 0o111))?;
            user::must_reach(&root, user)?;
        }
        Ok(Self {
            trash: Arc::new(Trash::new(&root)?),
            root,
            // One without a slash is looked for in the server's PATH, as everywhere.
            agent: config.agent.canonicalize().unwrap_or(config.agent),
            // Who starts the server is not who runs the commands.
            base_env: config.base_env.into_iter().chain(own_env.unwrap_or_default()).collect(),
            run_as,
            least_free_disk: config.least_free_disk,
            max_processes: config.max_processes,
            segment_bytes: config.segment_bytes,
            isolation: config.isolation,
            network: config.network,
            code: config.code,
            boot_id: processes::boot_id()?,
            clock,
            stops: Stops::default(),
            children: InFlight::default(),
        })
    }

    fn dir_mode(&self) -> u32 {
        dir_mode(self.run_as.as_ref())
    }

    fn describe(&self, id: ExecutionId) -> TaskState {
        let known =
            Known { boot_id: &self.boot_id, has_child: self.children.contains(id), now: self.clock.now() };
        let dir = execution_dir(&self.root, id);
        let state = describe::describe(&dir, id, &known);
        if matches!(state, TaskState::Exited(_) | TaskState::Gone) {
            self.stops.forget(id);
            self.trash.take(&dir.join(runvoy_task::layout::WORK), id);
        }
        state
    }

    fn agent(&self, id: ExecutionId) -> Option<OwnedFd> {
        match gate::read(&execution_dir(&self.root, id)).ok()??.state {
            GateState::Claimed(process) => Held::agent(&process).ok()?.map(Held::into_fd),
            GateState::Revoked => None,
        }
    }

    fn revoke(&self, id: ExecutionId) -> io::Result<Claim> {
        let dir = layout::create(&self.root, id, self.dir_mode())?;
        if matches!(Note::read(&dir)?, Some(Note::Told(_))) {
            return Ok(Claim::Claimed);
        }
        let at_ms = u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default();
        gate::revoke(&dir, at_ms)
    }
}

/// Others may pass through on their way to a working directory that is theirs, and see nothing.
fn dir_mode(run_as: Option<&RunAs>) -> u32 {
    if run_as.is_some() { 0o711 } else { 0o700 }
}

impl Tasks for Shared {
    fn root(&self) -> &Path {
        &self.root
    }

    fn look(
        self: Arc<Self>,
        id: ExecutionId,
        hold: bool,
    ) -> BoxFuture<'static, (TaskState, Option<OwnedFd>)> {
        let looked = tokio::task::spawn_blocking(move || {
            let state = self.describe(id);
            let agent =
                if hold && matches!(state, TaskState::Running { .. }) { self.agent(id) } else { None };
            (state, agent)
        });
        looked.map(|looked| looked.unwrap_or((TaskState::Unknown, None))).boxed()
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            workspaces: true,
            shorter_grace: true,
            reach: if self.shared.run_as.is_none() { Reach::OneTrustDomain } else { Reach::Apart },
            ..Capabilities::default()
        }
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        space::admit(&self.shared.root, self.shared.least_free_disk).await
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        let child_guard = self.shared.children.begin(task.id);
        if let Some(prepared) = start::prepare(&self.shared, task).await? {
            self.follower.follow(task.id);
            let mut child = start::start(&self.shared, task, prepared).await?;
            let ended = async move {
                // The agent has to be reaped; how it ended, its directory tells.
                let _ = child.wait().await;
                drop(child_guard);
            };
            self.follower.keep(task.id, ended.boxed());
        }
        Ok(None)
    }

    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.revoke(id)).await
    }

    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        let shared = Arc::clone(&self.shared);
        let dir = execution_dir(&shared.root, id);
        blocking(move || stop::stop(&dir, id, grace, &shared.stops, &shared.boot_id)).await
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let (shared, ids) = (Arc::clone(&self.shared), ids.to_vec());
        let states =
            blocking(move || Ok(ids.iter().map(|id| (*id, shared.describe(*id))).collect::<Vec<_>>()));
        let states = states.await?;
        for (id, state) in &states {
            // Found by a server that did not start it.
            if matches!(state, TaskState::Pending | TaskState::Running { .. }) {
                self.follower.follow(*id);
            }
        }
        Ok(states.into_iter().map(|(_, state)| state).collect())
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        self.follower.events()
    }
}
