//! What servers leave behind that end in the middle of something.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use runvoy_core::clock::SharedClock;
use runvoy_core::port::Executor as _;
use runvoy_core::testing::ManualClock;
use runvoy_local::docker::DockerExecutor;

use crate::support::{BUSYBOX, Containers, PATIENCE, docker, docker_text, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_was_cut_off_is_cleaned_up() {
    let mut containers = Containers::new().await;
    let nonce = format!("{:016x}", std::process::id());
    let name = format!("runvoy-probe-{nonce}");
    let dir = containers.config.root.join(format!(".probe-{nonce}"));
    fs::create_dir(&dir).unwrap();
    let empty = dir.join("empty.tar");
    assert!(Command::new("tar").arg("-cf").arg(&empty).args(["-T", "/dev/null"]).status().unwrap().success());
    docker_text(&["import", empty.to_str().unwrap(), &name]);
    docker_text(&["create", "--name", &name, BUSYBOX, "true"]);
    containers.restarted().await;
    let is_there = |kind: &str| docker(&[kind, "inspect", &name]).status.success();
    let left = (is_there("container"), is_there("image"), dir.exists());
    docker(&["rm", "--force", &name]);
    docker(&["rmi", "--force", &name]);
    assert_eq!(left, (false, false, false), "container, image, directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_dropped_takes_its_starts_along() {
    let containers = Containers::new().await;
    // A registry that takes calls and answers none.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/silent:1", registry.local_addr().unwrap().port());
    let clock: SharedClock = Arc::new(ManualClock::default());
    let executor = DockerExecutor::connect(containers.config.clone(), Arc::clone(&clock)).await.unwrap();
    let mut events = executor.events();
    executor.start(&within(&image, "true")).await.unwrap();
    tokio::time::timeout(PATIENCE, events.next()).await.expect("a pull is told").unwrap();
    drop(events);
    drop(executor);
    let since = Instant::now();
    while Arc::strong_count(&clock) > 1 {
        assert!(since.elapsed() < PATIENCE, "somebody is still at it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
