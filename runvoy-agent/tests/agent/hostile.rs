//! Commands that attack their supervision, and supervision that dies.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runvoy_task::{EndReason, EndRecord, Isolation, layout};

use crate::task::{Task, eventually, namespaces, root};

#[test]
fn killing_the_parent_has_no_effect_in_a_namespace() {
    if !namespaces() {
        return;
    }
    let (end, log) = Task::shell("kill -9 $PPID; kill -STOP $PPID; kill -9 -1; echo alive; exit 5").run();
    assert_eq!((end.exit_code, end.reason), (Some(5), EndReason::Exited));
    assert_eq!(log.stdout(), "alive\n");
}

#[test]
fn a_killed_supervisor_is_answered_for() {
    let task = Task::shell(
        "echo said; setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & \
         echo more >&2; sleep 0.3; kill -9 $PPID; sleep 60",
    )
    .with(|spec| spec.isolation = Isolation::Subreaper);
    let mut agent = task.start();
    let end = agent.end();
    assert_eq!((end.exit_code, end.reason), (None, EndReason::Lost));
    assert!(end.message.is_some() && !end.pid_namespace);
    assert_eq!((task.log().stdout(), task.log().stderr()), ("said\n".to_owned(), "more\n".to_owned()));
    task.log().assert_agrees(&end);
    assert!(task.leftovers().is_empty());
}

#[test]
fn a_torn_tail_is_left_where_it_is() {
    let task = Task::shell("echo said; sleep 0.2; printf RVB1torn >> \"$SEGMENT\"; kill -9 $PPID; sleep 60");
    let segment = task.dir.join(layout::LOG).join(layout::segment_name(0, layout::SEGMENT_EXTENSION));
    let task = task.with(|spec| {
        spec.isolation = Isolation::Subreaper;
        spec.env.insert("SEGMENT".to_owned(), segment.to_str().unwrap().to_owned());
    });
    let end = task.start().end();
    assert_eq!((end.reason, end.events, end.bytes), (EndReason::Lost, 1, 5));
    assert_eq!(task.log().torn, 8);
    task.log().assert_agrees(&end);
}

#[test]
fn a_killed_keeper_takes_the_tree_along() {
    for isolation in [Isolation::Auto, Isolation::Subreaper] {
        let task =
            Task::shell("setsid sleep 60 & touch ready; sleep 60").with(|spec| spec.isolation = isolation);
        let mut agent = task.start();
        eventually("the command", || task.work("ready").exists().then_some(()));
        agent.signal(Signal::SIGKILL);
        assert_eq!(agent.exit().code(), None);
        let end = eventually("the end record", || {
            Some(EndRecord::from_json(&fs::read(task.dir.join(layout::END)).ok()?).unwrap())
        });
        assert_eq!((end.reason, end.exit_code), (EndReason::Lost, Some(137)));
        task.log().assert_agrees(&end);
        assert!(task.leftovers().is_empty());
    }
}

/// Chains of processes, each of which forks, enters a new session and exits, for ever.
const FORKS: &str = r#"exec perl -e '
    use POSIX ();
    $SIG{TERM} = "IGNORE"; $SIG{CHLD} = "IGNORE";
    for (1..30) {
        my $chain;
        select(undef, undef, undef, 0.001) until defined($chain = fork);
        next if $chain;
        while (1) {
            my $child = fork;
            if (!defined $child) { select(undef, undef, undef, 0.001); next }
            POSIX::_exit(0) if $child;
            POSIX::setsid();
        }
    }
    open(my $ready, ">", "ready"); close($ready);
    sleep 60 while 1;
'"#;

#[test]
fn a_fork_storm_within_its_limit_ends_in_time() {
    if !root() {
        return;
    }
    for (isolation, uid) in [(Isolation::Auto, 64_001), (Isolation::Subreaper, 64_002)] {
        let task = Task::shell(FORKS).unprivileged().with(|spec| {
            spec.isolation = isolation;
            spec.grace_ms = 500;
            // The limit counts all processes of the user: nobody else's, please.
            spec.run_as.as_mut().unwrap().uid = uid;
            spec.max_processes = Some(60);
        });
        let mut agent = task.start();
        eventually("the storm", || task.work("ready").exists().then_some(()));
        let start = Instant::now();
        agent.stop(None);
        let end = agent.end();
        assert!(start.elapsed() < Duration::from_millis(500 + 2000), "{isolation:?} {:?}", start.elapsed());
        assert_eq!((end.exit_code, end.reason), (Some(137), EndReason::Stopped));
        assert!(task.leftovers().is_empty());
        task.log().assert_agrees(&end);
    }
}

#[test]
fn a_limit_on_processes_holds() {
    if !root() {
        return;
    }
    let task = Task::shell("grep processes /proc/self/limits | tr -s ' '").unprivileged().with(|spec| {
        spec.run_as.as_mut().unwrap().uid = 64_003;
        spec.max_processes = Some(17);
    });
    let (_, log) = task.run();
    assert_eq!(log.stdout(), "Max processes 17 17 processes \n");
}

#[test]
fn the_agent_carries_nothing_in_its_environment() {
    if !root() {
        return;
    }
    let task = Task::shell("touch ready; sleep 60").with(|spec| spec.isolation = Isolation::Subreaper);
    let mut agent = task.start();
    eventually("the command", || task.work("ready").exists().then_some(()));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.pid())).unwrap();
    let supervisor: i32 = children.trim().parse().unwrap();
    assert_eq!(fs::read(format!("/proc/{supervisor}/environ")).unwrap(), b"");
    agent.stop(Some(Duration::ZERO));
    assert_eq!(agent.end().reason, EndReason::Stopped);
}
