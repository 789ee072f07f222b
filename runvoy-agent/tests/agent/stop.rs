//! Stops and timeouts: what is asked to end ends, and what does not is killed.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runvoy_task::{EndReason, Isolation};

use crate::task::{Agent, Task, eventually};

/// The promise, and some room for a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

fn when_ready(task: &Task) -> Agent {
    let agent = task.start();
    eventually("the command to be ready", || task.work("ready").exists().then_some(()));
    agent
}

/// A main process and daemons in sessions of their own, none of which minds TERM.
const STUBBORN: &str = "trap '' TERM; \
    for i in 1 2 3 4 5; do setsid sh -c '(setsid sh -c \"trap \\\"\\\" TERM; while :; do sleep 0.05; done\") & exit' & done; \
    wait; touch ready; while :; do sleep 0.05; done";

fn both(test: impl Fn(Isolation)) {
    test(Isolation::Auto);
    test(Isolation::Subreaper);
}

#[test]
fn a_stop_reaches_the_command() {
    both(|isolation| {
        let task = Task::shell("trap 'echo caught; exit 3' TERM; touch ready; while :; do sleep 0.01; done")
            .with(|spec| spec.isolation = isolation);
        let mut agent = when_ready(&task);
        agent.stop(None);
        let end = agent.end();
        assert_eq!((end.exit_code, end.reason), (Some(3), EndReason::Stopped));
        assert_eq!(task.log().stdout(), "caught\n");
    });
}

#[test]
fn a_signal_without_a_request_is_somebody_elses() {
    let task = Task::shell("touch ready; exec sleep 60");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        fs::remove_dir_all(&task.dir).unwrap();
        fs::create_dir(&task.dir).unwrap();
        let _ = fs::remove_file(task.work("ready"));
        let mut agent = when_ready(&task);
        agent.signal(Signal::SIGHUP);
        agent.signal(signal);
        let end = agent.end();
        assert_eq!((end.exit_code, end.reason), (Some(143), EndReason::StoppedOutside));
    }
}

#[test]
fn the_stop_signal_is_the_specs() {
    let task = Task::shell("trap 'exit 4' USR1; touch ready; while :; do sleep 0.01; done")
        .with(|spec| spec.stop_signal = "USR1".to_owned());
    let mut agent = when_ready(&task);
    agent.stop(None);
    assert_eq!(agent.end().exit_code, Some(4));
}

#[test]
fn daemons_that_ignore_the_stop_are_killed_in_time() {
    both(|isolation| {
        let task = Task::shell(STUBBORN).with(|spec| {
            spec.grace_ms = 500;
            spec.isolation = isolation;
        });
        let mut agent = when_ready(&task);
        assert!(task.leftovers().len() > 5);
        let start = Instant::now();
        agent.stop(None);
        let end = agent.end();
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert!(start.elapsed() < Duration::from_millis(500) + SLACK, "{:?}", start.elapsed());
        assert_eq!((end.exit_code, end.reason), (Some(137), EndReason::Stopped));
        assert!(task.leftovers().is_empty());
    });
}

#[test]
fn daemons_do_not_outlive_the_command() {
    both(|isolation| {
        let task = Task::shell(
            &STUBBORN
                .replace("while :; do sleep 0.05; done\"", "exec sleep 60\"")
                .replace("touch ready; while :; do sleep 0.05; done", "exit 6"),
        )
        .with(|spec| spec.isolation = isolation);
        let start = Instant::now();
        let (end, _) = task.run();
        assert!(start.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", start.elapsed());
        assert_eq!((end.exit_code, end.reason), (Some(6), EndReason::Exited));
    });
}

#[test]
fn a_later_request_can_only_shorten_the_grace() {
    let task = Task::shell(STUBBORN).with(|spec| spec.grace_ms = 30_000);
    let mut agent = when_ready(&task);
    agent.stop(None);
    let start = Instant::now();
    agent.stop(Some(Duration::from_mins(1)));
    agent.stop(Some(Duration::from_millis(400)));
    assert_eq!(agent.end().reason, EndReason::Stopped);
    assert!(start.elapsed() < Duration::from_millis(400) + SLACK, "{:?}", start.elapsed());
}

#[test]
fn a_timeout_stops_the_command() {
    let task =
        Task::shell("trap 'exit 9' TERM; while :; do sleep 0.01; done").with(|spec| spec.timeout_ms = 300);
    let start = Instant::now();
    let (end, _) = task.run();
    assert!(
        start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_millis(300) + SLACK
    );
    assert_eq!((end.exit_code, end.reason), (Some(9), EndReason::TimedOut));
}

#[test]
fn a_timeout_kills_what_does_not_stop() {
    let task = Task::shell(STUBBORN).with(|spec| {
        spec.timeout_ms = 300;
        spec.grace_ms = 300;
    });
    let start = Instant::now();
    let (end, _) = task.run();
    assert!(start.elapsed() < Duration::from_millis(600) + SLACK, "{:?}", start.elapsed());
    assert_eq!((end.exit_code, end.reason), (Some(137), EndReason::TimedOut));
}

#[test]
fn a_flood_does_not_delay_a_stop() {
    let task = Task::shell("trap '' TERM; touch ready; yes & yes >&2 & yes").with(|spec| spec.grace_ms = 300);
    let mut agent = when_ready(&task);
    let start = Instant::now();
    agent.stop(None);
    let end = agent.end();
    assert!(start.elapsed() < Duration::from_millis(300) + SLACK * 2, "{:?}", start.elapsed());
    assert_eq!(end.reason, EndReason::Stopped);
    task.log().assert_agrees(&end);
    assert!(task.leftovers().is_empty());
}
