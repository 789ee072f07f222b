//! An engine that goes away under a running command: one of our own, since others have theirs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Executor, StartTask, TaskState};
use runvoy_core::testing::executor::{describe, exit, until};
use runvoy_task::EndReason;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{BUSYBOX, Containers, PATIENCE, docker, processes_of, shell};

/// An engine that can be stopped. In a network of its own, where it is in nobody's way.
pub(crate) struct Engine {
    dir: TempDir,
    child: Option<Child>,
    flags: &'static [&'static str],
}

impl Engine {
    /// `None` where none can be started: that takes root, and a `dockerd`.
    pub(crate) fn new(flags: &'static [&'static str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !docker(&["version"]).status.success() {
            eprintln!("left out: no engine can be started here");
            return None;
        }
        let mut engine = Self { dir: TempDir::new().unwrap(), child: None, flags };
        engine.start();
        let archive = engine.dir.path().join("image.tar");
        let archive = archive.to_str().unwrap();
        assert!(docker(&["save", "--output", archive, BUSYBOX]).status.success());
        assert!(docker(&["--host", &engine.host(), "load", "--input", archive]).status.success());
        Some(engine)
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.path().display())
    }

    pub(crate) fn start(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let log = std::fs::File::options().create(true).append(true).open(path("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "dockerd", "--bridge", "none", "--iptables=false", "--host", &self.host()])
            .arg("--data-root")
            .arg(path("root"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd");
        self.child = Some(child);
        let since = Instant::now();
        while !docker(&["--host", &self.host(), "version"]).status.success() {
            let log = std::fs::read_to_string(path("log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "no engine: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it takes an execution's container for a running one: a command may be quicker than the engine,
    /// and a start that is cut short ends what it started, live restore or not.
    pub(crate) fn must_run(&self, id: ExecutionId) {
        let name = format!("runvoy-{id}");
        let host = self.host();
        let args = ["--host", &host, "inspect", "--format", "{{.State.Status}}", &name];
        let since = Instant::now();
        while docker(&args).stdout.trim_ascii() != b"running" {
            assert!(since.elapsed() < PATIENCE, "{id} does not run");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        if signal == Signal::KILL {
            self.end_containerd();
        }
    }

    /// An engine's helper dies with it, a moment later; the next engine must not take its note for a living one.
    fn end_containerd(&self) {
        let note = self.dir.path().join("exec/containerd/containerd.pid");
        let pid =
            std::fs::read_to_string(&note).unwrap().trim().parse().ok().and_then(Pid::from_raw).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        let is_alive = || {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
        };
        while is_alive() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(note).unwrap();
    }

    async fn containers(&self) -> Containers {
        Containers::with(|config| config.host = self.host()).await
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.child.is_none() {
            // What a killed engine left is taken over by a new one, and ends with that.
            self.start();
        }
        let listed = docker(&["--host", &self.host(), "ps", "--all", "--quiet"]);
        for id in String::from_utf8_lossy(&listed.stdout).lines() {
            docker(&["--host", &self.host(), "rm", "--force", id]);
        }
        self.end(Signal::TERM);
        // An engine that keeps its containers keeps this mount for them.
        let _ = Command::new("umount").arg(self.dir.path().join("root")).stderr(Stdio::null()).status();
    }
}

fn offline(command: &str) -> StartTask {
    let mut start = shell(command);
    start.request.container.network = Some("none".to_owned());
    start
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_outlives_its_engine_is_found_again() {
    let Some(mut engine) = Engine::new(&["--live-restore"]) else { return };
    let containers = engine.containers().await;
    let start = offline("echo ready; while ! [ -e /tmp/go ]; do sleep 0.05; done; echo done; exit 3");
    containers.begin(&start).await;
    engine.must_run(start.id);
    engine.end(Signal::TERM);
    assert_eq!(describe(&*containers.executor, start.id).await, TaskState::Unknown);
    // What is asked for meanwhile waits for the engine.
    let meanwhile = offline("exit 4");
    containers.executor.start(&meanwhile).await.unwrap();
    let away = containers.executor.admit().await.unwrap_err();
    assert_eq!(away.to_string(), "the Docker engine is not available");
    assert_eq!(describe(&*containers.executor, meanwhile.id).await, TaskState::Pending);
    engine.start();
    assert_eq!(exit(&*containers.executor, meanwhile.id).await.exit_code, Some(4));
    until(&*containers.executor, start.id, |state| matches!(state, TaskState::Running { .. })).await;
    let name = format!("runvoy-{}", start.id);
    let touched = docker(&["--host", &engine.host(), "exec", &name, "/bin/touch", "/tmp/go"]);
    assert!(touched.status.success(), "{}", String::from_utf8_lossy(&touched.stderr));
    assert_eq!(exit(&*containers.executor, start.id).await.exit_code, Some(3));
    assert_eq!(containers.log(start.id).await[0], b"ready\ndone\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_ends_takes_its_containers_along_and_all_is_told() {
    let Some(mut engine) = Engine::new(&[]) else { return };
    let containers = engine.containers().await;
    let start = offline("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    containers.begin(&start).await;
    engine.must_run(start.id);
    engine.end(Signal::TERM);
    engine.start();
    let exit = exit(&*containers.executor, start.id).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(5), EndReason::StoppedOutside));
    let [stdout, _, complete] = containers.log(start.id).await;
    assert_eq!((stdout, complete), (b"ready\nbye\n".to_vec(), b"true".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_loses_its_containers() {
    let Some(mut engine) = Engine::new(&[]) else { return };
    let containers = engine.containers().await;
    let start = offline("echo ready; exec sleep 600");
    containers.begin(&start).await;
    engine.must_run(start.id);
    engine.end(Signal::KILL);
    assert_eq!(describe(&*containers.executor, start.id).await, TaskState::Unknown);
    engine.start();
    let state = containers.over(start.id).await;
    let is_lost = matches!(&state, TaskState::Exited(exit) if matches!(exit.reason, EndReason::Lost | EndReason::StoppedOutside));
    assert!(is_lost, "{state:?}");
    assert_eq!(processes_of(start.id), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_never_asked_to_stop_is_asked_before_it_is_killed() {
    let Some(mut engine) = Engine::new(&["--live-restore"]) else { return };
    let containers = engine.containers().await;
    let start = offline("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    containers.begin(&start).await;
    engine.end(Signal::TERM);
    // For longer than an agent has that was told to stop at once.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(6) {
        assert!(containers.executor.stop(start.id, Some(Duration::ZERO)).await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    engine.start();
    until(&*containers.executor, start.id, |state| matches!(state, TaskState::Running { .. })).await;
    containers.executor.stop(start.id, Some(Duration::from_secs(30))).await.unwrap();
    let exit = exit(&*containers.executor, start.id).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(5), EndReason::Stopped));
    assert_eq!(containers.log(start.id).await[0], b"ready\nbye\n");
}
