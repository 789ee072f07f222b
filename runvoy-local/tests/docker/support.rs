//! An executor over the engine, and what its tests want to know.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runvoy_core::clock::SystemClock;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::Stream;
use runvoy_core::port::{Executor, LogItem, LogSource, ReadLimit, StartTask, TaskExit, TaskState};
use runvoy_core::testing::executor::{Act, ExecutorHarness, exit, task, until};
use runvoy_local::docker::{DEFAULT_HOST, DockerConfig, DockerExecutor};
use runvoy_local::log_files::LogFiles;
use runvoy_task::CommandLine;
use tempfile::TempDir;

/// An image with busybox, for commands that need a shell.
pub(crate) const BUSYBOX: &str = "runvoy-test/busybox";

/// Nothing here takes longer, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Where the engine is.
pub(crate) fn host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_HOST.to_owned())
}

/// The agent, linked statically: the one that the build of `runvoy-cli` makes.
pub(crate) fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("RUNVOY_TEST_STATIC_AGENT") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).unwrap();
    let triples = fs::read_dir(target.join("agent")).into_iter().flatten().flatten();
    let mut agents = triples.map(|triple| triple.path().join("release/runvoy-agent"));
    agents.find(|path| path.is_file()).expect("no agent yet: cargo build -p runvoy-cli")
}

/// Runs the engine's own client.
pub(crate) fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).env("DOCKER_HOST", host()).output().expect("the docker client")
}

pub(crate) fn docker_text(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes sure of engine and images. Without an engine the whole test is left out, unless that is forbidden.
fn must_have_engine() {
    if !docker(&["version"]).status.success() {
        let required = std::env::var("RUNVOY_TEST_REQUIRE").is_ok_and(|what| what == "all");
        assert!(!required, "no Docker engine answers at {}; scripts/test starts one", host());
        eprintln!("left out: no Docker engine answers at {}", host());
        std::process::exit(0);
    }
    if !docker(&["image", "inspect", "runvoy-test/debian"]).status.success() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-images");
        let built = Command::new(script).env("DOCKER_HOST", host()).status().unwrap();
        assert!(built.success(), "the images for the tests could not be built");
    }
}

/// An executor with a data directory of its own.
pub(crate) struct Containers {
    pub(crate) executor: Arc<DockerExecutor>,
    pub(crate) config: DockerConfig,
    home: TempDir,
}

impl Containers {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut DockerConfig)) -> Self {
        must_have_engine();
        let root = TempDir::new().unwrap();
        let mut config = DockerConfig::new(root.path().join("data"), agent());
        config.host = host();
        change(&mut config);
        let executor = connect(&config).await;
        Self { executor, config, home: root }
    }

    /// A server that has the data directory after this one.
    pub(crate) async fn restarted(&mut self) {
        self.executor = connect(&self.config).await;
    }

    /// No server has the data directory from now on.
    pub(crate) async fn stopped(&mut self) {
        let root = self.home.path().join("another");
        self.executor = connect(&DockerConfig { root, ..self.config.clone() }).await;
    }

    pub(crate) fn dir(&self, id: ExecutionId) -> PathBuf {
        let id = id.to_string();
        self.config.root.join(&id[..2]).join(&id)
    }

    /// Runs a task to its end.
    pub(crate) async fn run(&self, start: &StartTask) -> Ran {
        self.executor.start(start).await.unwrap();
        let exit = exit(&*self.executor, start.id).await;
        let [stdout, stderr, complete] = self.log(start.id).await;
        assert_eq!(complete, b"true", "an exit has a whole log");
        Ran { exit, stdout, stderr }
    }

    /// Standard output, standard error, and whether that is all.
    pub(crate) async fn log(&self, id: ExecutionId) -> [Vec<u8>; 3] {
        let page = LogFiles::new(&self.config.root).unwrap();
        let page = page.read(id, None, ReadLimit { events: u64::MAX, bytes: u64::MAX }).await.unwrap();
        let [mut stdout, mut stderr] = [Vec::new(), Vec::new()];
        for item in &page.items {
            let LogItem::Block(block) = item else { panic!("a gap") };
            let output = if block.stream == Stream::Stdout { &mut stdout } else { &mut stderr };
            output.extend_from_slice(&block.bytes);
        }
        let complete = page.end.map(|end| end.complete.to_string()).unwrap_or_default();
        [stdout, stderr, complete.into_bytes()]
    }

    /// Starts a task and waits until its command says `ready` on standard output.
    pub(crate) async fn begin(&self, start: &StartTask) {
        self.executor.start(start).await.unwrap();
        let since = Instant::now();
        while !self.log(start.id).await[0].starts_with(b"ready") {
            assert!(since.elapsed() < PATIENCE, "{} never began", start.id);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The state in which a task ends, one way or another.
    pub(crate) async fn over(&self, id: ExecutionId) -> TaskState {
        let is_over = |state: &TaskState| {
            matches!(state, TaskState::Exited(_) | TaskState::Gone | TaskState::Refused(_))
        };
        until(&*self.executor, id, is_over).await
    }

    /// Containers of this data directory, dead or alive.
    pub(crate) fn count(&self) -> usize {
        let root = self.config.root.canonicalize().unwrap();
        let label = format!("label=runvoy.data={}", root.display());
        docker_text(&["ps", "--all", "--quiet", "--filter", &label]).lines().count()
    }

    /// Waits until none is left: the engine removes them a moment after they end.
    pub(crate) fn must_be_empty(&self) {
        let since = Instant::now();
        while self.count() > 0 {
            assert!(since.elapsed() < PATIENCE, "containers are left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A test that fails leaves nothing behind, either.
impl Drop for Containers {
    fn drop(&mut self) {
        remove_all(&self.config.root);
    }
}

/// Removes the containers of a data directory.
pub(crate) fn remove_all(root: &Path) {
    let Ok(root) = root.canonicalize() else { return };
    let label = format!("label=runvoy.data={}", root.display());
    let listed = docker(&["ps", "--all", "--quiet", "--filter", &label]);
    for id in String::from_utf8_lossy(&listed.stdout).lines() {
        docker(&["rm", "--force", "--volumes", id]);
    }
}

async fn connect(config: &DockerConfig) -> Arc<DockerExecutor> {
    Arc::new(DockerExecutor::connect(config.clone(), Arc::new(SystemClock)).await.unwrap())
}

/// How a command ended and what it wrote.
pub(crate) struct Ran {
    pub(crate) exit: TaskExit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Ran {
    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// A task in an image.
pub(crate) fn within(image: &str, command: impl Into<String>) -> StartTask {
    let mut start = task(ExecutionId::random(), command);
    start.request.container.image = Some(image.to_owned());
    start
}

/// A task with busybox.
pub(crate) fn shell(command: impl Into<String>) -> StartTask {
    within(BUSYBOX, command)
}

/// A task without a shell.
pub(crate) fn args(image: &str, args: &[&str]) -> StartTask {
    let mut start = within(image, "");
    start.request.command = CommandLine::Args(args.iter().copied().map(str::to_owned).collect());
    start
}

/// Processes of this machine that carry an execution's id in their environment.
pub(crate) fn processes_of(id: ExecutionId) -> usize {
    let variable = format!("RUNVOY_EXECUTION_ID={id}").into_bytes();
    let environments =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|p| fs::read(p.path().join("environ")).ok());
    environments.filter(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry == variable)).count()
}

impl ExecutorHarness for Containers {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.executor) as Arc<dyn Executor>
    }

    fn task(&self, id: ExecutionId, act: Act) -> StartTask {
        // Root in its container may write to its own directory.
        let mark = "echo ran >> /.runvoy/task/marks";
        let command = match act {
            Act::Exit(code) => format!("{mark}; exit {code}"),
            Act::Sleep => format!("{mark}; exec sleep 600"),
            Act::IgnoreStop => format!("trap '' TERM; {mark}; while :; do sleep 600; done"),
            Act::Daemon => {
                format!("(setsid sh -c 'trap \"\" TERM; {mark}; exec sleep 600' &); exec sleep 600")
            }
        };
        shell(command).with_id(id)
    }

    fn runs(&self, id: ExecutionId) -> usize {
        fs::read_to_string(self.dir(id).join("marks")).unwrap_or_default().lines().count()
    }

    fn left(&self, id: ExecutionId) -> usize {
        processes_of(id)
    }
}

/// A task's id is in its variables, too.
pub(crate) trait WithId {
    fn with_id(self, id: ExecutionId) -> Self;
}

impl WithId for StartTask {
    fn with_id(mut self, id: ExecutionId) -> Self {
        self.id = id;
        self.reserved_env.insert("RUNVOY_EXECUTION_ID".to_owned(), id.to_string());
        self
    }
}
