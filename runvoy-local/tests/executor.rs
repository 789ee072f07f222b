//! Processes under real agents, and scripted tasks: both keep the contract; a restarted server finds everything.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runvoy_core::clock::SystemClock;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::Stream;
use runvoy_core::port::{
    Claim, Executor, ExecutorError, LogItem, LogSource, ReadLimit, StartTask, TaskState, TaskWorkspace,
};
use runvoy_core::testing::executor::{Act, ExecutorHarness, describe, exit, task, until};
use runvoy_local::log_files::LogFiles;
use runvoy_local::memory::{MemoryLogs, Script, ScriptedExecutor};
use runvoy_local::process::{ProcessConfig, ProcessExecutor};
use runvoy_task::{EndReason, Gate, GateState, GitWorkspace, Isolation, layout};
use rustix::process::{Pid, Signal, kill_process};
use sha2::Digest as _;
use tempfile::TempDir;

fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("RUNVOY_AGENT") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let mut beside = own.ancestors().skip(1).take(3).map(|dir| dir.join("runvoy-agent"));
    beside.find(|path| path.is_file()).expect("no agent yet: cargo build -p runvoy-agent")
}

struct Processes {
    root: TempDir,
    config: ProcessConfig,
    executor: Arc<ProcessExecutor>,
}

impl Processes {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let root = TempDir::new().unwrap();
        let mut config = ProcessConfig::new(root.path().join("data"), agent());
        let path = std::env::var("PATH").unwrap();
        config.base_env = BTreeMap::from([("PATH".to_owned(), path), ("CI".to_owned(), "no".to_owned())]);
        change(&mut config);
        let executor = open(&config);
        Self { root, config, executor }
    }

    fn marks(&self, id: ExecutionId) -> PathBuf {
        self.root.path().join(id.to_string())
    }

    fn dir(&self, id: ExecutionId) -> PathBuf {
        let id = id.to_string();
        self.config.root.join(&id[..2]).join(&id)
    }

    fn agent_pid(&self, id: ExecutionId) -> Pid {
        let gate = Gate::from_json(&fs::read(self.dir(id).join(layout::GATE)).unwrap()).unwrap();
        let GateState::Claimed(agent) = gate.state else { panic!("revoked") };
        Pid::from_raw(i32::try_from(agent.pid).unwrap()).unwrap()
    }

    /// Starts a task and waits for its mark.
    async fn begin(&self, start: &StartTask) {
        self.executor.start(start).await.unwrap();
        while self.runs(start.id) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Agents that lost the race for a gate may still be at it: they would write where the directory is being removed.
impl Drop for Processes {
    fn drop(&mut self) {
        let root = self.config.root.as_os_str().as_encoded_bytes();
        let is_ours = |process: &fs::DirEntry| {
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            arguments.windows(root.len()).any(|window| window == root)
        };
        let since = Instant::now();
        while fs::read_dir("/proc").unwrap().flatten().any(|process| is_ours(&process)) {
            assert!(
                std::thread::panicking() || since.elapsed() < Duration::from_secs(10),
                "an agent is left"
            );
            if since.elapsed() > Duration::from_secs(10) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn open(config: &ProcessConfig) -> Arc<ProcessExecutor> {
    Arc::new(ProcessExecutor::new(config.clone(), Arc::new(SystemClock)).unwrap())
}

impl ExecutorHarness for Processes {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.executor) as Arc<dyn Executor>
    }

    fn task(&self, id: ExecutionId, act: Act) -> StartTask {
        let mark = format!("echo ran >> {}", self.marks(id).display());
        task(
            id,
            match act {
                Act::Exit(code) => format!("{mark}; exit {code}"),
                Act::Sleep => format!("{mark}; exec sleep 600"),
                Act::IgnoreStop => format!("trap '' TERM; {mark}; while :; do sleep 600; done"),
                Act::Daemon => {
                    format!("(setsid sh -c 'trap \"\" TERM; {mark}; exec sleep 600' &); exec sleep 600")
                }
            },
        )
    }

    fn runs(&self, id: ExecutionId) -> usize {
        fs::read_to_string(self.marks(id)).unwrap_or_default().lines().count()
    }

    fn left(&self, id: ExecutionId) -> usize {
        processes_of(id)
    }
}

/// Processes that carry an execution's id in their environment.
fn processes_of(id: ExecutionId) -> usize {
    let variable = format!("RUNVOY_EXECUTION_ID={id}").into_bytes();
    let environments =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|p| fs::read(p.path().join("environ")).ok());
    environments.filter(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry == variable)).count()
}

mod processes {
    runvoy_core::executor_conformance!(super::Processes::new());
}

/// The same where the kernel grants no PID namespace.
mod subreaper {
    use runvoy_task::Isolation;

    runvoy_core::executor_conformance!(super::Processes::with(
        |config| config.isolation = Isolation::Subreaper
    ));
}

struct Scripted(ScriptedExecutor);

impl Scripted {
    fn new() -> Self {
        let clock = Arc::new(SystemClock);
        let logs = Arc::new(MemoryLogs::new(clock.clone()));
        Self(ScriptedExecutor::with_script(logs, clock, |task| Script {
            output: vec![(Stream::Stdout, Bytes::from_static(b"hello\n"))],
            exit_code: match &task.request.command {
                runvoy_task::CommandLine::Shell(text) => text.parse().ok(),
                runvoy_task::CommandLine::Args(_) => Some(127),
            },
        }))
    }
}

impl ExecutorHarness for Scripted {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(self.0.clone())
    }

    fn task(&self, id: ExecutionId, act: Act) -> StartTask {
        task(id, if let Act::Exit(code) = act { code.to_string() } else { "wait".to_owned() })
    }

    fn runs(&self, id: ExecutionId) -> usize {
        usize::try_from(self.0.runs(id)).unwrap()
    }

    fn left(&self, id: ExecutionId) -> usize {
        self.0.running().into_iter().filter(|running| *running == id).count()
    }
}

mod scripted {
    runvoy_core::executor_conformance!(super::Scripted::new());
}

async fn log_of(root: &Path, id: ExecutionId) -> (String, Option<bool>) {
    let page = LogFiles::new(root).unwrap();
    let page = page.read(id, None, ReadLimit { events: u64::MAX, bytes: u64::MAX }).await.unwrap();
    let bytes = page.items.iter().map(|item| match item {
        LogItem::Block(block) => String::from_utf8_lossy(&block.bytes).into_owned(),
        LogItem::Gap { .. } => panic!("a gap"),
    });
    (bytes.collect(), page.end.map(|end| end.complete))
}

#[tokio::test]
async fn the_environment_is_layered_and_the_log_is_read() {
    let tasks = Processes::new();
    let id = ExecutionId::random();
    let mut start =
        task(id, "echo $CI,$OWN,$RUNVOY_LOCK_NAME,$RUNVOY_EXECUTION_ID; pwd; echo bad >&2; exit 4");
    start.request.env = BTreeMap::from([("OWN".to_owned(), "mine".to_owned())]);
    start.reserved_env.insert("RUNVOY_LOCK_NAME".to_owned(), "prod".to_owned());
    tasks.executor.start(&start).await.unwrap();
    let ended = exit(&*tasks.executor, id).await;
    assert_eq!(ended.exit_code, Some(4));
    let phases: Vec<_> = ended.phases.iter().map(|timing| timing.phase.as_str()).collect();
    assert_eq!(phases, ["prepare", "command"], "as the agent measured them");
    let (text, complete) = log_of(&tasks.config.root, id).await;
    let work = tasks.dir(id).canonicalize().unwrap().join(layout::WORK);
    assert!(text.contains(&format!("true,mine,prod,{id}\n{}\n", work.display())), "{text}");
    assert!(text.contains("bad\n"));
    assert_eq!(complete, Some(true));
    assert_eq!(ended.log.unwrap().events, 3);
}

#[tokio::test]
async fn a_new_server_finds_a_running_task_and_its_end() {
    let mut tasks = Processes::new();
    let id = ExecutionId::random();
    let gate = tasks.root.path().join("go");
    let mark = tasks.marks(id);
    let command = format!(
        "echo ran >> {}; while ! [ -e {} ]; do sleep 0.01; done; echo done",
        mark.display(),
        gate.display()
    );
    tasks.begin(&task(id, command)).await;
    tasks.executor = open(&tasks.config);
    let mut events = tasks.executor.events();
    assert!(matches!(describe(&*tasks.executor, id).await, TaskState::Running { .. }));
    assert_eq!(tasks.executor.revoke(id).await.unwrap(), Claim::Claimed);
    fs::write(gate, "").unwrap();
    let news = async {
        use futures_util::StreamExt as _;
        while let Some(event) = events.next().await {
            if matches!(event.state, TaskState::Exited(_)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), news).await.expect("a found task is followed");
    assert_eq!(exit(&*tasks.executor, id).await.exit_code, Some(0));
    assert_eq!(log_of(&tasks.config.root, id).await, ("done\n".to_owned(), Some(true)));
}

#[tokio::test]
async fn a_new_server_stops_a_running_task() {
    let mut tasks = Processes::new();
    let id = ExecutionId::random();
    tasks.begin(&tasks.task(id, Act::IgnoreStop)).await;
    tasks.executor = open(&tasks.config);
    tasks.executor.stop(id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(exit(&*tasks.executor, id).await.reason, EndReason::Stopped);
    assert_eq!(processes_of(id), 0);
}

#[tokio::test]
async fn a_killed_agent_leaves_nothing_that_runs() {
    for isolation in [Isolation::Auto, Isolation::Subreaper] {
        let tasks = Processes::with(|config| config.isolation = isolation);
        let id = ExecutionId::random();
        tasks.begin(&tasks.task(id, Act::Daemon)).await;
        kill_process(tasks.agent_pid(id), Signal::KILL).unwrap();
        let is_over = |state: &TaskState| matches!(state, TaskState::Exited(_) | TaskState::Gone);
        let state = until(&*tasks.executor, id, is_over).await;
        if let TaskState::Exited(exit) = &state {
            assert_eq!(exit.reason, EndReason::Lost);
        }
        assert_eq!(processes_of(id), 0, "{isolation:?}: {state:?}");
        assert_eq!(describe(&*tasks.executor, id).await, state);
    }
}

/// The inner half of an agent, which is the command's parent.
fn supervisor(tasks: &Processes, id: ExecutionId) -> Pid {
    let dir = tasks.dir(id).canonicalize().unwrap();
    let is_inner = |process: &fs::DirEntry| {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0).skip(1);
        arguments.next() == Some(b"init") && arguments.next() == Some(dir.as_os_str().as_encoded_bytes())
    };
    let found = fs::read_dir("/proc").unwrap().flatten().find(is_inner).expect("a supervisor");
    Pid::from_raw(found.file_name().to_str().unwrap().parse().unwrap()).unwrap()
}

/// What a command of the server's own user can do to those who watch it, where there is no namespace.
#[tokio::test]
async fn a_command_that_halts_its_supervisor_and_kills_the_keeper_is_stopped_all_the_same() {
    let tasks = Processes::with(|config| config.isolation = Isolation::Subreaper);
    let id = ExecutionId::random();
    tasks.begin(&tasks.task(id, Act::Sleep)).await;
    let keeper = tasks.agent_pid(id);
    kill_process(supervisor(&tasks, id), Signal::STOP).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    let began = Instant::now();
    while matches!(describe(&*tasks.executor, id).await, TaskState::Running { .. } | TaskState::Unknown) {
        assert!(began.elapsed() < Duration::from_secs(30), "it lives for ever");
        // As every pass of reconciliation does.
        tasks.executor.stop(id, Some(Duration::ZERO)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(processes_of(id), 0);
}

fn is_lost(state: &TaskState) -> bool {
    matches!(state, TaskState::Exited(exit) if exit.reason == EndReason::Lost && exit.exit_code.is_none())
}

/// Both halves of the agent at once, so that nobody of its own is left to clean up.
#[tokio::test]
async fn orphans_of_a_dead_agent_are_killed_before_it_is_gone() {
    let tasks = Processes::with(|config| config.isolation = Isolation::Subreaper);
    let id = ExecutionId::random();
    tasks.begin(&tasks.task(id, Act::Daemon)).await;
    let outer = tasks.agent_pid(id);
    kill_process(outer, Signal::STOP).unwrap();
    kill_process(supervisor(&tasks, id), Signal::KILL).unwrap();
    kill_process(outer, Signal::KILL).unwrap();
    let state =
        until(&*tasks.executor, id, |state| !matches!(state, TaskState::Running { .. } | TaskState::Unknown))
            .await;
    assert!(is_lost(&state), "{state:?}");
    assert_eq!(processes_of(id), 0);
}

#[tokio::test]
async fn a_disk_without_room_admits_nothing() {
    let tasks = Processes::with(|config| config.least_free_disk = 101);
    let refused = tasks.executor.admit().await;
    let Err(ExecutorError::Busy { message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("make room there"), "{message}");
}

#[tokio::test]
async fn an_agent_that_cannot_run_is_refused_in_words() {
    let tasks = Processes::with(|config| config.agent = "/nowhere/runvoy-agent".into());
    let id = ExecutionId::random();
    let refused = tasks.executor.start(&tasks.task(id, Act::Exit(0))).await;
    let Err(ExecutorError::Refused { message, .. }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("/nowhere/runvoy-agent"), "{message}");
    tasks.executor.admit().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_dies_early_may_be_tried_again() {
    let tasks = Processes::with(|config| config.agent = "/bin/true".into());
    let id = ExecutionId::random();
    let mut start = tasks.task(id, Act::Exit(0));
    start.mask = vec!["x".repeat(512 * 1024)];
    let failed = tasks.executor.start(&start).await;
    assert!(matches!(failed, Err(ExecutorError::Unavailable { retryable: true, .. })), "{failed:?}");
    assert_eq!(describe(&*tasks.executor, id).await, TaskState::Gone);
    assert_eq!(tasks.executor.revoke(id).await.unwrap(), Claim::Revoked);
    assert_eq!(describe(&*tasks.executor, id).await, TaskState::Gone);
}

#[tokio::test]
async fn what_ran_before_the_last_boot_is_gone() {
    let tasks = Processes::new();
    let id = ExecutionId::random();
    tasks.begin(&tasks.task(id, Act::Sleep)).await;
    tasks.executor.stop(id, None).await.unwrap();
    exit(&*tasks.executor, id).await;
    let dir = tasks.dir(id);
    fs::remove_file(dir.join(layout::END)).unwrap();
    let mut gate = Gate::from_json(&fs::read(dir.join(layout::GATE)).unwrap()).unwrap();
    let GateState::Claimed(agent) = &mut gate.state else { panic!("revoked") };
    (agent.pid, agent.boot_id) = (std::process::id(), "another".to_owned());
    fs::write(dir.join(layout::GATE), serde_json::to_vec(&gate).unwrap()).unwrap();
    let state = describe(&*tasks.executor, id).await;
    assert!(is_lost(&state), "{state:?}");
    tasks.executor.stop(id, Some(Duration::ZERO)).await.unwrap();
}

#[tokio::test]
async fn commands_may_be_somebody_elses() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var("RUNVOY_TEST_REQUIRE").as_deref() != Ok("all"), "root is required");
        return;
    }
    let root = TempDir::new().unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.path(), open_to_all).unwrap();
    let mut config = ProcessConfig::new(root.path().join("data"), agent());
    config.run_as = Some("nobody".to_owned());
    config.base_env = BTreeMap::from([
        ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    let executor = open(&config);
    let id = ExecutionId::random();
    executor
        .start(&task(
            id,
            "id -un; : > file && ls; ls .. 2>&1 | grep -c denied; cat ../gate; echo $USER $LOGNAME $HOME",
        ))
        .await
        .unwrap();
    assert_eq!(exit(&*executor, id).await.exit_code, Some(0));
    let (text, _) = log_of(&config.root, id).await;
    assert!(text.contains("nobody\nfile\n1\n"), "{text}");
    assert!(text.contains("nobody nobody /") && !text.contains("/root"), "{text}");
    assert!(!text.contains("claimed"), "{text}");
    config.run_as = Some("no-such-user".to_owned());
    let refused = ProcessExecutor::new(config, Arc::new(SystemClock)).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("no-such-user")));
}

/// A directory with an archive of one file, and the workspace that it makes.
fn uploaded() -> (TempDir, TaskWorkspace) {
    let code = TempDir::new().unwrap();
    fs::write(code.path().join("file"), "text\n").unwrap();
    let packed =
        std::process::Command::new("tar").args(["-czf", "archive", "file"]).current_dir(code.path()).status();
    assert!(packed.unwrap().success());
    let archive = fs::read(code.path().join("archive")).unwrap();
    let digest = sha2::Sha256::digest(&archive);
    let sha256 = digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    fs::rename(code.path().join("archive"), code.path().join(&sha256)).unwrap();
    (code, TaskWorkspace::Upload { sha256, size: archive.len() as u64 })
}

#[tokio::test]
async fn uploaded_code_is_where_a_command_starts() {
    let (code, workspace) = uploaded();
    let id = ExecutionId::random();
    let mut start = task(id, "cat file .env");
    start.request.env.insert("WHO".to_owned(), "me".to_owned());
    start.workspace = Some(workspace);
    let without = Processes::new();
    let refused = without.executor.start(&start).await.unwrap_err();
    assert!(matches!(refused, ExecutorError::Refused { .. }), "{refused}");

    let tasks = Processes::with(|config| config.code = Some(code.path().to_owned()));
    tasks.executor.start(&start).await.unwrap();
    assert_eq!(exit(&*tasks.executor, id).await.exit_code, Some(0));
    assert_eq!(log_of(&tasks.config.root, id).await.0, "text\nWHO=me\n");
}

#[tokio::test]
async fn the_working_directory_of_a_process_is_gone_once_it_has_ended() {
    let (code, workspace) = uploaded();
    let tasks = Processes::with(|config| config.code = Some(code.path().to_owned()));
    let work = |id: ExecutionId| {
        let id = id.to_string();
        tasks.config.root.join(&id[..2]).join(&id).join(layout::WORK)
    };
    for (command, workspace, code) in [
        ("mkdir -p a/b && : > a/b/c && chmod 500 a a/b", Some(&workspace), 0),
        ("mkdir a && : > a/b && chmod 500 a", None, 0),
        ("cat .env && exit 7", None, 7),
    ] {
        let id = ExecutionId::random();
        let mut start = task(id, command);
        start.workspace = workspace.cloned();
        start.request.env.insert("WHO".to_owned(), "me".to_owned());
        tasks.executor.start(&start).await.unwrap();
        assert_eq!(exit(&*tasks.executor, id).await.exit_code, Some(code));
        assert!(!work(id).exists());
        assert_eq!(exit(&*tasks.executor, id).await.exit_code, Some(code), "it stays ended");
    }
}

#[tokio::test]
async fn a_workspace_that_cannot_be_had_is_told() {
    let tasks = Processes::new();
    let id = ExecutionId::random();
    let mut start = task(id, "true");
    start.workspace = Some(TaskWorkspace::Git(GitWorkspace::new("git@example.com:a/b.git")));
    tasks.executor.start(&start).await.unwrap();
    let exit = exit(&*tasks.executor, id).await;
    assert_eq!((exit.exit_code, exit.reason), (None, EndReason::WorkspaceFailed));
    assert!(exit.message.is_some_and(|message| message.contains("SSH")));
}

#[tokio::test]
async fn by_hand_one_of_many_tasks_claims() {
    let clock = Arc::new(SystemClock);
    let logs = Arc::new(MemoryLogs::new(clock.clone()));
    let one = ScriptedExecutor::manual(logs, clock);
    let other = one.clone();
    let id = ExecutionId::random();
    one.start(&task(id, "x")).await.unwrap();
    other.start(&task(id, "x")).await.unwrap();
    assert_eq!(describe(&one, id).await, TaskState::Pending);
    let pending = one.pending();
    assert_eq!(pending.len(), 2);
    assert!(other.claim(pending[1].task) && !one.claim(pending[0].task) && !one.claim(pending[1].task));
    assert_eq!((one.runs(id), other.revoke(id).await.unwrap()), (1, Claim::Claimed));
    one.set_unknown(id, true);
    assert_eq!(describe(&other, id).await, TaskState::Unknown);
    one.set_unknown(id, false);
    one.stop(id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(other.stops(id), [Some(Duration::ZERO)]);
    assert!(other.vanish(id) && !one.exit(id, 0));
    assert_eq!(describe(&one, id).await, TaskState::Gone);
}
