//! Conformance of an [`Executor`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use runvoy_task::{CommandLine, EndReason};

use crate::execution::{Asked, Container, StartRequest};
use crate::id::ExecutionId;
use crate::limits;
use crate::port::{Claim, Executor, StartTask, TaskEvent, TaskExit, TaskState};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// How long to listen for events before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How late a kill may be.
const LATE: Duration = Duration::from_secs(1);

/// What a command does. Before that, every one leaves a mark that [`ExecutorHarness::runs`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Exits with a code at once.
    Exit(i32),
    /// Runs until it is stopped; the stop signal ends it.
    Sleep,
    /// Runs on through the stop signal.
    IgnoreStop,
    /// Leaves a process behind that has a session of its own and ignores the stop signal; then as `Sleep`.
    Daemon,
}

/// What a backend provides, so that the suite can run things and count what ran.
pub trait ExecutorHarness: Send + Sync {
    /// The executor under test: a clone of the same one, each time.
    fn executor(&self) -> Arc<dyn Executor>;

    /// A task that does something, made of [`task`] or otherwise.
    fn task(&self, id: ExecutionId, act: Act) -> StartTask;

    /// How often the execution's command began.
    fn runs(&self, id: ExecutionId) -> usize;

    /// How many processes of the execution are left.
    fn left(&self, id: ExecutionId) -> usize;
}

/// A task that runs `command` by the shell.
pub fn task(id: ExecutionId, command: impl Into<String>) -> StartTask {
    StartTask {
        id,
        request: StartRequest {
            command: CommandLine::Shell(command.into()),
            env: BTreeMap::new(),
            timeout: Duration::from_mins(10),
            grace: Duration::from_secs(20),
            stop_signal: None,
            container: Container::default(),
            asked: Asked::default(),
            code: None,
        },
        secrets: BTreeMap::new(),
        reserved_env: BTreeMap::from([("RUNVOY_EXECUTION_ID".to_owned(), id.to_string())]),
        workspace: None,
        mask: Vec::new(),
        user: "tester@example.com".parse().unwrap(),
        log_limit: limits::LOG_BYTES,
    }
}

/// The state of one execution.
pub async fn describe(executor: &dyn Executor, id: ExecutionId) -> TaskState {
    let mut states = executor.describe(&[id]).await.unwrap();
    assert_eq!(states.len(), 1);
    states.remove(0)
}

/// Waits for a state. `describe` decides; an event only makes it quick.
pub async fn until(
    executor: &dyn Executor,
    id: ExecutionId,
    is_it: impl Fn(&TaskState) -> bool,
) -> TaskState {
    let mut events = executor.events();
    let since = Instant::now();
    loop {
        let state = describe(executor, id).await;
        if is_it(&state) {
            return state;
        }
        assert!(since.elapsed() < LONG, "{id} is still {state:?}");
        let _ = tokio::time::timeout(LOOK_AGAIN, events.next()).await;
    }
}

/// Waits for the exit of a task.
pub async fn exit(executor: &dyn Executor, id: ExecutionId) -> TaskExit {
    let is_over =
        |state: &TaskState| matches!(state, TaskState::Exited(_) | TaskState::Gone | TaskState::Refused(_));
    match until(executor, id, is_over).await {
        TaskState::Exited(exit) => *exit,
        state => panic!("{id} is {state:?}"),
    }
}

/// Starts a task and waits until its command has begun.
async fn begin(harness: &dyn ExecutorHarness, act: Act) -> ExecutionId {
    let id = ExecutionId::random();
    harness.executor().start(&harness.task(id, act)).await.unwrap();
    until(&*harness.executor(), id, |state| matches!(state, TaskState::Running { .. })).await;
    let since = Instant::now();
    while harness.runs(id) == 0 {
        assert!(since.elapsed() < LONG, "{id} never began");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    id
}

/// A command's own code is its exit code; it started before it finished.
pub async fn exit_codes_are_the_commands_own(harness: &dyn ExecutorHarness) {
    for code in [0, 1, 7, 255] {
        let id = ExecutionId::random();
        harness.executor().start(&harness.task(id, Act::Exit(code))).await.unwrap();
        let exit = exit(&*harness.executor(), id).await;
        assert_eq!((exit.exit_code, exit.reason), (Some(code), EndReason::Exited));
        assert!(exit.started_at <= exit.finished_at);
        assert_eq!(harness.runs(id), 1);
    }
}

/// Started twice, at once or later, a command runs once.
pub async fn a_doubled_start_runs_once(harness: &dyn ExecutorHarness) {
    let (id, executor) = (ExecutionId::random(), harness.executor());
    let start = harness.task(id, Act::Exit(0));
    for started in join_all((0..4).map(|_| executor.start(&start))).await {
        started.unwrap();
    }
    let first = exit(&*executor, id).await;
    executor.start(&start).await.unwrap();
    assert_eq!(exit(&*executor, id).await, first, "an exit stays as it is");
    assert_eq!(harness.runs(id), 1);
}

/// After a revoke the command never runs, and whoever asks is told so.
pub async fn a_revoked_command_never_runs(harness: &dyn ExecutorHarness) {
    let (id, executor) = (ExecutionId::random(), harness.executor());
    assert_eq!(executor.revoke(id).await.unwrap(), Claim::Revoked);
    for _ in 0..2 {
        executor.start(&harness.task(id, Act::Exit(0))).await.unwrap();
        assert_eq!(executor.revoke(id).await.unwrap(), Claim::Revoked);
        assert_eq!(until(&*executor, id, |state| *state == TaskState::Gone).await, TaskState::Gone);
    }
    assert_eq!(harness.runs(id), 0);
}

/// A revoke that comes late changes nothing, then or ever.
pub async fn a_claimed_command_is_not_revoked(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    let id = begin(harness, Act::Sleep).await;
    for _ in 0..2 {
        assert_eq!(executor.revoke(id).await.unwrap(), Claim::Claimed);
    }
    executor.stop(id, None).await.unwrap();
    exit(&*executor, id).await;
    assert_eq!(executor.revoke(id).await.unwrap(), Claim::Claimed);
}

/// Of a start and revokes at once, one wins, all are told the same, and that is what happens.
pub async fn a_race_for_the_gate_has_one_winner(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    for _ in 0..10 {
        let id = ExecutionId::random();
        let start = harness.task(id, Act::Exit(0));
        let revokes = join_all((0..3).map(|_| executor.revoke(id)));
        let (started, claims) = futures_util::future::join(executor.start(&start), revokes).await;
        started.unwrap();
        let claims: Vec<_> = claims.into_iter().map(Result::unwrap).collect();
        let later = executor.revoke(id).await.unwrap();
        assert!(claims.iter().all(|claim| *claim == later), "{claims:?}, then {later:?}");
        let is_over = |state: &TaskState| matches!(state, TaskState::Exited(_) | TaskState::Gone);
        let state = until(&*executor, id, is_over).await;
        assert_eq!(matches!(state, TaskState::Exited(_)), later == Claim::Claimed);
        assert_eq!(harness.runs(id), usize::from(later == Claim::Claimed));
    }
}

/// What has ended, was revoked or never was can be stopped, to no effect.
pub async fn stopping_nothing_is_no_error(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    executor.stop(ExecutionId::random(), None).await.unwrap();
    let revoked = ExecutionId::random();
    executor.revoke(revoked).await.unwrap();
    executor.stop(revoked, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(describe(&*executor, revoked).await, TaskState::Gone);
    let ended = ExecutionId::random();
    executor.start(&harness.task(ended, Act::Exit(3))).await.unwrap();
    let before = exit(&*executor, ended).await;
    executor.stop(ended, None).await.unwrap();
    assert_eq!(exit(&*executor, ended).await, before);
}

/// A stop ends the command by its signal, long before the grace is over, however often it is asked for.
pub async fn stop_ends_the_command(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    let id = begin(harness, Act::Sleep).await;
    for _ in 0..3 {
        executor.stop(id, None).await.unwrap();
    }
    let exit = exit(&*executor, id).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(143), EndReason::Stopped));
    assert_eq!(harness.left(id), 0);
}

/// What ignores the signal is killed after the grace, with everything that it left behind.
pub async fn stop_kills_the_whole_tree(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    for act in [Act::IgnoreStop, Act::Daemon] {
        let id = begin(harness, act).await;
        let (grace, since) = (Duration::from_millis(500), Instant::now());
        executor.stop(id, Some(grace)).await.unwrap();
        let exit = exit(&*executor, id).await;
        assert!(since.elapsed() < grace + LATE, "{act:?}: {:?}", since.elapsed());
        assert_eq!(exit.reason, EndReason::Stopped);
        assert_eq!(harness.left(id), 0, "{act:?}");
    }
}

/// Every id gets an answer, in the order asked, also twice and also those that never were.
pub async fn describe_answers_for_all(harness: &dyn ExecutorHarness) {
    let executor = harness.executor();
    assert_eq!(executor.describe(&[]).await.unwrap(), []);
    let (ended, never) = (ExecutionId::random(), ExecutionId::random());
    executor.start(&harness.task(ended, Act::Exit(5))).await.unwrap();
    exit(&*executor, ended).await;
    let running = begin(harness, Act::Sleep).await;
    let states = executor.describe(&[running, never, ended, running]).await.unwrap();
    assert!(matches!(
        states.as_slice(),
        [
            TaskState::Running { .. },
            TaskState::Gone | TaskState::Pending | TaskState::Unknown,
            TaskState::Exited(_),
            TaskState::Running { .. }
        ]
    ));
    executor.stop(running, Some(Duration::ZERO)).await.unwrap();
    exit(&*executor, running).await;
}

/// The claim and the exit are told to everybody who listens.
pub async fn events_tell_claim_and_exit(harness: &dyn ExecutorHarness) {
    let (id, executor) = (ExecutionId::random(), harness.executor());
    let listeners = [executor.events(), executor.events()];
    executor.start(&harness.task(id, Act::Sleep)).await.unwrap();
    for mut events in listeners {
        wait_for(&mut events, |event| event.id == id && matches!(event.state, TaskState::Running { .. }))
            .await;
        executor.stop(id, Some(Duration::ZERO)).await.unwrap();
        wait_for(&mut events, |event| event.id == id && matches!(event.state, TaskState::Exited(_))).await;
    }
}

async fn wait_for(
    events: &mut (impl futures_util::Stream<Item = TaskEvent> + Unpin),
    is_it: impl Fn(&TaskEvent) -> bool,
) {
    let found = async {
        while let Some(event) = events.next().await {
            if is_it(&event) {
                return;
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(LONG, found).await.expect("the event comes");
}

/// One test per property. `$make` makes an [`ExecutorHarness`], within a runtime.
#[macro_export]
macro_rules! executor_conformance {
    ($make:expr) => {
        $crate::executor_conformance!(@ $make;
            exit_codes_are_the_commands_own, a_doubled_start_runs_once, a_revoked_command_never_runs,
            a_claimed_command_is_not_revoked, a_race_for_the_gate_has_one_winner, stopping_nothing_is_no_error,
            stop_ends_the_command, stop_kills_the_whole_tree, describe_answers_for_all,
            events_tell_claim_and_exit);
    };
    (@ $make:expr; $($property:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                $crate::testing::executor::$property(&$make).await;
            }
        )*
    };
}
