//! Commands that attack their supervision.

use std::time::{Duration, Instant};

use runvoy_core::port::Executor;
use runvoy_core::testing::executor::exit;
use runvoy_task::EndReason;

use crate::support::{Containers, processes_of, shell};

#[tokio::test(flavor = "multi_thread")]
async fn killing_everything_in_the_container_leaves_the_agent() {
    let containers = Containers::new().await;
    let ran = containers.run(&shell("kill -9 1; kill -STOP 1; kill -9 -1; echo alive; exit 5")).await;
    assert_eq!((ran.exit.exit_code, ran.out().as_str()), (Some(5), "alive\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_ignore_the_stop_are_killed_in_time() {
    let containers = Containers::new().await;
    let start = shell(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 600; done' &); done; \
         trap '' TERM; echo ready; while :; do sleep 600; done",
    );
    containers.begin(&start).await;
    let (grace, since) = (Duration::from_millis(500), Instant::now());
    containers.executor.stop(start.id, Some(grace)).await.unwrap();
    let exit = exit(&*containers.executor, start.id).await;
    assert!(since.elapsed() < grace + Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!((exit.exit_code, exit.reason), (Some(137), EndReason::Stopped));
    assert_eq!(processes_of(start.id), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_ends_with_it() {
    let containers = Containers::new().await;
    let start = shell("(setsid sleep 600 &); (trap '' TERM; setsid sleep 600 &); exit 7");
    let ran = containers.run(&start).await;
    assert_eq!(ran.exit.exit_code, Some(7));
    assert_eq!(processes_of(start.id), 0);
}

/// Processes that fork, enter a new session and exit, for ever.
const FORKS: &str = "f() { while :; do (setsid sh -c 'trap \"\" TERM; sleep 0.01' &) ; done; }; \
                     for i in 1 2 3 4 5 6 7 8; do f & done; echo ready; trap '' TERM; while :; do sleep 1; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_storm_within_its_limit_ends_in_time() {
    let containers = Containers::with(|config| config.max_processes = Some(60)).await;
    let start = shell(FORKS);
    containers.begin(&start).await;
    let (grace, since) = (Duration::from_millis(500), Instant::now());
    containers.executor.stop(start.id, Some(grace)).await.unwrap();
    let exit = exit(&*containers.executor, start.id).await;
    assert!(since.elapsed() < grace + Duration::from_secs(4), "{:?}", since.elapsed());
    assert_eq!(exit.reason, EndReason::Stopped);
    assert_eq!(processes_of(start.id), 0);
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept() {
    let containers = Containers::new().await;
    let mut start = shell("trap '' TERM; echo ready; while :; do sleep 600; done");
    (start.request.timeout, start.request.grace) = (Duration::from_millis(700), Duration::from_millis(300));
    let ran = containers.run(&start).await;
    assert_eq!((ran.exit.exit_code, ran.exit.reason), (Some(137), EndReason::TimedOut));
}
