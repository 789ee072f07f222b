//! Commands that are root in their container and lie to the server, by the files that they share with it.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use runvoy_core::ReconcileOptions;
use runvoy_core::port::{Claim, Executor, StartTask, TaskState};
use runvoy_core::state::{Reason, Status};
use runvoy_core::testing::executor::{describe, exit, until};
use runvoy_task::{EndReason, EndRecord, Gate, GateState, layout};
use tempfile::TempDir;

use crate::locks::Server;
use crate::restart::Engine;
use crate::support::{BUSYBOX, Containers, PATIENCE, docker, docker_text, host, processes_of, shell};

/// An end as an agent would tell it.
fn end(exit_code: i32) -> String {
    let record = EndRecord {
        version: EndRecord::VERSION,
        execution_id: "0".repeat(32),
        exit_code: Some(exit_code),
        signal: None,
        reason: EndReason::Exited,
        message: None,
        started_at_ms: 1,
        finished_at_ms: u64::MAX,
        events: 0,
        bytes: 0,
        replacements: 0,
        hash: "0".repeat(64),
        commit: None,
        pid_namespace: true,
        phases: Vec::new(),
    };
    serde_json::to_string(&record).unwrap()
}

/// Puts a file into the execution's directory, whole, and then does something else.
fn forging(name: &str, text: &str, then: &str) -> String {
    format!(
        "printf '%s' '{text}' > /.runvoy/task/.forged; mv /.runvoy/task/.forged /.runvoy/task/{name}; {then}"
    )
}

/// Waits until there is a file.
async fn appears(path: &Path) {
    let since = Instant::now();
    while fs::symlink_metadata(path).is_err() {
        assert!(since.elapsed() < PATIENCE, "{} never comes", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn note(dir: &Path) -> PathBuf {
    dir.with_extension("container")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_end_gives_no_lock_away() {
    let containers = Containers::new().await;
    drop(containers);
    let server = Server::start(host()).await;
    let first = server.run(&forging(layout::END, &end(0), "exec sleep 600")).await;
    let second = server.run("exit 6").await;
    let dir = server.executions().join(&first.id.to_string()[..2]).join(first.id.to_string());
    appears(&dir.join(layout::END)).await;
    server.until(&first, |status| status == Status::Running).await;
    // Whoever believed it would have passed the lock on with the next pass.
    for _ in 0..3 {
        server.local.runvoy().reconcile(ReconcileOptions::default()).await.unwrap();
        assert_eq!(server.until(&first, |_| true).await.status, Status::Running);
        assert_eq!(server.until(&second, |_| true).await.status, Status::Queued);
    }
    assert_ne!(processes_of(first.id), 0);
    server.kill(&first).await;
    let killed = server.until(&first, Status::is_terminal).await;
    assert_eq!((killed.status, killed.status_reason), (Status::Stopped, Some(Reason::Killed)));
    assert_eq!(processes_of(first.id), 0);
    let second = server.until(&second, Status::is_terminal).await;
    assert_eq!((second.status_reason, second.exit_code), (Some(Reason::Exited), Some(6)));
    server.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_end_is_neither_an_end_nor_what_the_agent_says_in_the_end() {
    let containers = Containers::new().await;
    let start = shell(format!(
        "echo ready; {}",
        forging(layout::END, &end(0), "while ! [ -e /tmp/go ]; do sleep 0.05; done; exit 5")
    ));
    containers.executor.start(&start).await.unwrap();
    appears(&containers.dir(start.id).join(layout::END)).await;
    for _ in 0..5 {
        assert!(matches!(describe(&*containers.executor, start.id).await, TaskState::Running { .. }));
    }
    docker_text(&["exec", &format!("runvoy-{}", start.id), "/bin/touch", "/tmp/go"]);
    let exit = exit(&*containers.executor, start.id).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(5), EndReason::Exited));
    assert!(exit.started_at <= exit.finished_at);
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_not_what_the_engine_tells_is_none() {
    let containers = Containers::new().await;
    let mut events = containers.executor.events();
    let start = shell(forging(layout::END, &end(0), "exec sleep 600"));
    containers.executor.start(&start).await.unwrap();
    appears(&containers.dir(start.id).join(layout::END)).await;
    docker_text(&["kill", &format!("runvoy-{}", start.id)]);
    let told = async {
        loop {
            let event = events.next().await.unwrap();
            if let TaskState::Exited(exit) = event.state
                && event.id == start.id
            {
                return exit;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!((told.exit_code, told.reason, &told.log), (None, EndReason::Lost, &None));
    // An exit stays as it is.
    assert_eq!(exit(&*containers.executor, start.id).await, *told);
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_no_server_heard_of_is_as_the_engine_remembers_it() {
    let mut containers = Containers::new().await;
    let forged = shell(forging(layout::END, &end(0), "exec sleep 600"));
    let own = shell("while ! [ -e /tmp/go ]; do sleep 0.05; done; exit 5");
    for start in [&forged, &own] {
        containers.executor.start(start).await.unwrap();
        until(&*containers.executor, start.id, |state| matches!(state, TaskState::Running { .. })).await;
    }
    appears(&containers.dir(forged.id).join(layout::END)).await;
    containers.stopped().await;
    docker_text(&["kill", &format!("runvoy-{}", forged.id)]);
    docker_text(&["exec", &format!("runvoy-{}", own.id), "/bin/touch", "/tmp/go"]);
    containers.must_be_empty();
    containers.restarted().await;
    for _ in 0..2 {
        assert_eq!(exit(&*containers.executor, forged.id).await.reason, EndReason::Lost);
        assert_eq!(exit(&*containers.executor, own.id).await.exit_code, Some(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_the_server_out_of_the_directory() {
    let containers = Containers::new().await;
    let theirs = TempDir::new().unwrap();
    let (file, pipe) = (theirs.path().join("file"), theirs.path().join("pipe"));
    fs::write(&file, "theirs").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reads = rustix::fs::open(&pipe, flags, rustix::fs::Mode::empty()).unwrap();
    let links = [".grace", layout::STOP, layout::END, layout::AGENT_LOG];
    let to_file = links.map(|name| format!("ln -sf {} {name}", file.display())).join("; ");
    let start = shell(format!(
        "echo ran >> /.runvoy/task/marks; cd /.runvoy/task; rm -f gate; ln -sf {} spec; {to_file}; touch done; exec sleep 600",
        pipe.display()
    ));
    containers.executor.start(&start).await.unwrap();
    appears(&containers.dir(start.id).join("done")).await;
    for _ in 0..3 {
        containers.executor.start(&start).await.unwrap();
        assert!(matches!(describe(&*containers.executor, start.id).await, TaskState::Running { .. }));
    }
    containers.executor.stop(start.id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(exit(&*containers.executor, start.id).await.reason, EndReason::Stopped);
    containers.executor.start(&start).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(rustix::io::read(&reads, &mut [0; 8]).unwrap(), 0, "somebody was told");
    assert_eq!(fs::read_to_string(containers.dir(start.id).join("marks")).unwrap(), "ran\n");
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_its_claim_away_runs_once_and_is_not_revoked() {
    let revoked = serde_json::to_string(&Gate::new(GateState::Revoked, 1)).unwrap();
    for spoil in ["rm /.runvoy/task/gate".to_owned(), forging(layout::GATE, &revoked, "true")] {
        let mut containers = Containers::new().await;
        let start = shell(format!("echo ran >> /.runvoy/task/marks; {spoil}; echo ready; exec sleep 600"));
        containers.begin(&start).await;
        for _ in 0..2 {
            containers.executor.start(&start).await.unwrap();
            assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
            assert!(matches!(describe(&*containers.executor, start.id).await, TaskState::Running { .. }));
            containers.restarted().await;
        }
        containers.executor.stop(start.id, Some(Duration::ZERO)).await.unwrap();
        exit(&*containers.executor, start.id).await;
        assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
        containers.executor.start(&start).await.unwrap();
        containers.must_be_empty();
        assert_eq!(fs::read_to_string(containers.dir(start.id).join("marks")).unwrap(), "ran\n");
    }
}

/// A container that might be an execution's. What the engine calls it.
fn run_by_hand(containers: &Containers, start: &StartTask) -> String {
    let root = containers.config.root.canonicalize().unwrap();
    let labels = [format!("runvoy.execution={}", start.id), format!("runvoy.data={}", root.display())];
    let name = format!("runvoy-{}", start.id);
    let run = ["run", "--detach", "--name", &name, "--label", &labels[0], "--label", &labels[1]];
    docker_text(&[&run[..], &[BUSYBOX, "sleep", "600"]].concat())
}

/// A container that was told a command, as far as a server had come that died then. It claims nothing.
fn told_by_hand(containers: &Containers, start: &StartTask) {
    let dir = containers.dir(start.id);
    fs::create_dir_all(&dir).unwrap();
    let container = run_by_hand(containers, start);
    let engine = docker_text(&["info", "--format", "{{.ID}} {{.DockerRootDir}}"]);
    let told = serde_json::json!({
        "state": "told", "at_ms": 1, "grace_ms": 1000, "engine": engine, "container": container,
        "image_digest": "sha256:00",
    });
    fs::write(note(&dir), told.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_a_command_has_it_whether_there_is_a_claim_or_not() {
    let containers = Containers::new().await;
    let start = shell("echo ran >> /.runvoy/task/marks");
    told_by_hand(&containers, &start);
    containers.executor.start(&start).await.unwrap();
    assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
    assert!(matches!(describe(&*containers.executor, start.id).await, TaskState::Running { .. }));
    docker_text(&["rm", "--force", &format!("runvoy-{}", start.id)]);
    assert_eq!(exit(&*containers.executor, start.id).await.reason, EndReason::Lost);
    // Never again: it may have begun.
    containers.executor.start(&start).await.unwrap();
    assert_eq!(exit(&*containers.executor, start.id).await.reason, EndReason::Lost);
    assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
    let dir = containers.dir(start.id);
    assert!(!dir.join("marks").exists() && !dir.join(layout::GATE).exists());
    assert_eq!(containers.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_the_name_of_a_command_that_is_over_is_removed() {
    let mut containers = Containers::new().await;
    let start = shell("exit 4");
    assert_eq!(containers.run(&start).await.exit.exit_code, Some(4));
    containers.must_be_empty();
    run_by_hand(&containers, &start);
    containers.restarted().await;
    containers.must_be_empty();
    assert_eq!(exit(&*containers.executor, start.id).await.exit_code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_a_power_cut_emptied_leaves_everything_to_the_engine() {
    let mut containers = Containers::new().await;
    let started = [(); 2].map(|()| shell("echo ready; exec sleep 600"));
    for start in &started {
        containers.begin(start).await;
        fs::write(note(&containers.dir(start.id)), b"").unwrap();
    }
    containers.restarted().await;
    let [stopped, killed] = &started;
    for start in &started {
        containers.executor.start(start).await.unwrap();
        assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
    }
    let states = containers.executor.describe(&[stopped.id, killed.id]).await.unwrap();
    assert!(states.iter().all(|state| matches!(state, TaskState::Running { .. })), "{states:?}");
    containers.executor.stop(stopped.id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(exit(&*containers.executor, stopped.id).await.reason, EndReason::Stopped);
    docker_text(&["kill", &format!("runvoy-{}", killed.id)]);
    assert_eq!(exit(&*containers.executor, killed.id).await.reason, EndReason::Lost);
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_that_has_no_such_container_is_not_asked_for_its_end() {
    let Some(engine) = Engine::new(&[]) else { return };
    let mut containers = Containers::with(|config| config.host = engine.host()).await;
    let started = [(); 2].map(|()| {
        let mut start = shell("echo ready; exec sleep 600");
        start.request.container.network = Some("none".to_owned());
        start
    });
    for start in &started {
        containers.begin(start).await;
    }
    let ids = started.each_ref().map(|start| start.id);
    containers.config.host = host();
    containers.restarted().await;
    assert_eq!(containers.executor.describe(&ids).await.unwrap(), [TaskState::Unknown, TaskState::Unknown]);
    assert_eq!(describe(&*containers.executor, ids[0]).await, TaskState::Unknown);
    containers.config.host = engine.host();
    containers.restarted().await;
    for id in ids {
        until(&*containers.executor, id, |state| matches!(state, TaskState::Running { .. })).await;
        assert!(docker(&["--host", &engine.host(), "kill", &format!("runvoy-{id}")]).status.success());
        assert_eq!(exit(&*containers.executor, id).await.reason, EndReason::Lost);
    }
    // What has ended stays ended, whoever is asked.
    containers.config.host = host();
    containers.restarted().await;
    assert_eq!(exit(&*containers.executor, ids[0]).await.reason, EndReason::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_empties_its_directory_has_ended_all_the_same() {
    let containers = Containers::new().await;
    let mut events = containers.executor.events();
    let start = shell("rm -rf /.runvoy/task/*; chmod 000 /.runvoy/task; exit 6");
    containers.executor.start(&start).await.unwrap();
    let over = async {
        while let Some(event) = events.next().await {
            if event.id == start.id && matches!(event.state, TaskState::Exited(_)) {
                return;
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    let ended = exit(&*containers.executor, start.id).await;
    let word = (ended.exit_code, ended.reason);
    assert!(word == (Some(6), EndReason::Exited) || word == (None, EndReason::Lost), "{word:?}");
    containers.must_be_empty();
    assert_eq!(processes_of(start.id), 0);
}
