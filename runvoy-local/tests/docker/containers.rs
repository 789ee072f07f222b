//! What is true of every container.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use runvoy_core::port::{Claim, Executor, ExecutorError, TaskState};
use runvoy_core::testing::executor::{describe, exit};
use runvoy_local::docker::{DockerConfig, DockerExecutor};
use runvoy_task::{EndReason, layout};
use tempfile::TempDir;

use crate::support::{BUSYBOX, Containers, agent, args, docker_text, host, processes_of, shell, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_small_and_has_no_privilege() {
    let containers = Containers::new().await;
    let mut start = shell(
        "found=$(cat /proc/self/status | grep -E 'NoNewPrivs|CapEff'; \
         cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes \
             /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null); \
         printf 'ready\\n%s\\n' \"$found\"; exec sleep 600",
    );
    start.request.container.memory = Some(48);
    start.request.container.cpu = Some(512);
    start.request.env = BTreeMap::from([("TOKEN".to_owned(), "not-to-be-seen".to_owned())]);
    start.mask = vec!["not-to-be-seen".to_owned()];
    containers.begin(&start).await;
    let name = format!("runvoy-{}", start.id);
    let shown = docker_text(&["inspect", &name]);
    assert!(!shown.contains("not-to-be-seen") && !shown.contains("sleep 600"), "{shown}");
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.MemorySwap}} {{.HostConfig.Privileged}} \
                  {{index .Config.Labels \"runvoy.user\"}}";
    assert_eq!(
        docker_text(&["inspect", "--format", format, &name]),
        "500000000 50331648 false tester@example.com"
    );
    containers.executor.stop(start.id, Some(Duration::ZERO)).await.unwrap();
    exit(&*containers.executor, start.id).await;
    let [out, ..] = containers.log(start.id).await;
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("CapEff:\t00000000a80425fb") && out.contains("NoNewPrivs:\t1"), "{out}");
    assert!(out.contains("50331648\n4096\n"), "{out}");
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_cannot_be_changed_and_tells_the_command_nothing() {
    let containers = Containers::new().await;
    let start = shell(
        "echo x > /.runvoy/agent; cat /proc/1/environ | tr '\\0' '\\n' | grep -c TOKEN; \
         ls /proc/self/fd | wc -l; ls /.runvoy/task",
    );
    let ran = containers.run(&start).await;
    let out = ran.out();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("Read-only file system"));
    // The pipe of the spec is gone.
    assert!(!out.lines().any(|line| line == layout::SPEC), "{out}");
    assert!(out.starts_with("0\n"), "{out}");
    assert!(!containers.dir(start.id).join(layout::SPEC).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_finds_a_running_container_and_its_end() {
    let mut containers = Containers::new().await;
    let start = shell("echo ready; while ! [ -e /tmp/go ]; do sleep 0.05; done; echo done; exit 3");
    containers.begin(&start).await;
    containers.restarted().await;
    assert!(matches!(describe(&*containers.executor, start.id).await, TaskState::Running { .. }));
    assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Claimed);
    docker_text(&["exec", &format!("runvoy-{}", start.id), "/bin/touch", "/tmp/go"]);
    assert_eq!(exit(&*containers.executor, start.id).await.exit_code, Some(3));
    assert_eq!(containers.log(start.id).await[0], b"ready\ndone\n");
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_a_server_left_half_done_is_finished_by_the_next() {
    let mut containers = Containers::new().await;
    // Made by hand as far as a server had come: its agent waits for a spec.
    let start = shell("echo done");
    let dir = containers.dir(start.id);
    fs::create_dir_all(&dir).unwrap();
    nix_mkfifo(&dir.join(layout::SPEC));
    let dir = dir.canonicalize().unwrap();
    let root = containers.config.root.canonicalize().unwrap();
    docker_text(&[
        "run",
        "--detach",
        "--rm",
        "--name",
        &format!("runvoy-{}", start.id),
        "--label",
        &format!("runvoy.execution={}", start.id),
        "--label",
        &format!("runvoy.data={}", root.display()),
        "--mount",
        &format!(
            "type=bind,source={},target=/.runvoy/agent,readonly",
            agent().canonicalize().unwrap().display()
        ),
        "--mount",
        &format!("type=bind,source={},target=/.runvoy/task", dir.display()),
        "--entrypoint",
        "/.runvoy/agent",
        BUSYBOX,
        "contain",
        "/.runvoy/task",
    ]);
    containers.restarted().await;
    assert_eq!(describe(&*containers.executor, start.id).await, TaskState::Pending);
    let ran = containers.run(&start).await;
    assert_eq!(ran.out(), "done\n");
    containers.must_be_empty();
}

fn nix_mkfifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_belong_to_whom_the_directory_belongs() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let containers = Containers::new().await;
    let mut start = shell("echo x; id -u; touch /srv-of-root");
    start.request.container.user = Some("0".to_owned());
    let dir = containers.dir(start.id);
    for dir in [dir.parent().unwrap(), &dir] {
        fs::create_dir_all(dir).unwrap();
        std::os::unix::fs::chown(dir, Some(54_321), Some(54_322)).unwrap();
    }
    // The server is root here, which it would not be: the pipe is made as that other server would make it.
    nix_mkfifo(&dir.join(layout::SPEC));
    std::os::unix::fs::chown(dir.join(layout::SPEC), Some(54_321), Some(54_322)).unwrap();
    let ran = containers.run(&start).await;
    assert_eq!((ran.out().as_str(), ran.exit.exit_code), ("x\n0\n", Some(0)));
    for name in [layout::GATE, layout::END, layout::LOG, layout::AGENT_LOG] {
        let found = fs::metadata(dir.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (54_321, 54_322), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_dies_as_a_whole_is_lost() {
    let containers = Containers::new().await;
    let start = shell("echo ready; exec sleep 600");
    containers.begin(&start).await;
    let since = std::time::Instant::now();
    docker_text(&["kill", &format!("runvoy-{}", start.id)]);
    let TaskState::Exited(lost) = containers.over(start.id).await else { panic!("not over") };
    assert_eq!((lost.reason, lost.exit_code, lost.log), (EndReason::Lost, None, None));
    assert!(lost.image_digest.is_some());
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(processes_of(start.id), 0);
    let [out, _, complete] = containers.log(start.id).await;
    assert_eq!((out.as_slice(), complete.as_slice()), (b"ready\n".as_slice(), b"".as_slice()));
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_from_outside_is_told() {
    let containers = Containers::new().await;
    let start = shell("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done");
    containers.begin(&start).await;
    docker_text(&["stop", &format!("runvoy-{}", start.id)]);
    let exit = exit(&*containers.executor, start.id).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(4), EndReason::StoppedOutside));
    assert_eq!(containers.log(start.id).await[0], b"ready\nbye\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_leaves_behind_is_cleaned_up() {
    let mut containers = Containers::new().await;
    let start = shell("echo never");
    let root = containers.config.root.canonicalize().unwrap();
    let labels = [format!("runvoy.execution={}", start.id), format!("runvoy.data={}", root.display())];
    let name = format!("runvoy-{}", start.id);
    docker_text(&[
        "run", "--detach", "--name", &name, "--label", &labels[0], "--label", &labels[1], BUSYBOX, "sleep",
        "600",
    ]);
    assert_eq!(containers.executor.revoke(start.id).await.unwrap(), Claim::Revoked);
    assert_eq!(containers.count(), 1);
    containers.restarted().await;
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_told_apart_from_one_of_no_use() {
    let root = TempDir::new().unwrap();
    let clock = std::sync::Arc::new(runvoy_core::clock::SystemClock);
    let mut config = DockerConfig::new(root.path().join("data"), agent());
    config.host = format!("unix://{}", root.path().join("none.sock").display());
    let error = DockerExecutor::connect(config.clone(), clock.clone()).await.err().unwrap();
    assert!(matches!(error, ExecutorError::Unavailable { .. }), "{error:?}");
    let _ = Containers::new().await;
    // An agent that cannot run there is found out by the probe.
    config.host = host();
    config.agent = "/etc/hostname".into();
    let error = DockerExecutor::connect(config, clock).await.err().unwrap();
    assert!(matches!(error, ExecutorError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("agent"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_made_once() {
    let containers = Containers::new().await;
    let probed = fs::metadata(containers.config.root.join(".probed")).unwrap().modified().unwrap();
    let mut containers = containers;
    containers.restarted().await;
    assert_eq!(fs::metadata(containers.config.root.join(".probed")).unwrap().modified().unwrap(), probed);
    assert_eq!(args(BUSYBOX, &["true"]).request.container.image.as_deref(), Some(BUSYBOX));
    assert!(containers.run(&within(BUSYBOX, "true")).await.exit.exit_code == Some(0));
}
