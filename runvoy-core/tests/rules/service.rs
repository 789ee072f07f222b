//! Rules that need no crash to show.

use std::sync::Arc;
use std::time::Duration;

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::Clock as _;
use runvoy_core::id::IdPrefix;
use runvoy_core::key::ApiKey;
use runvoy_core::port::{
    AuditKind, AuditLog, Authorizer, ExecutionStore, Executor as _, KeyStore, LockManager, SecretStore,
    TaskEvent, TaskExit, TaskState,
};
use runvoy_core::state::{Reason, Status};
use runvoy_core::testing::ManualClock;
use runvoy_core::{Caller, Error, KillOutcome, ReconcileOptions, RequestContext, Runvoy};
use runvoy_local::memory::{
    MemoryAuditLog, MemoryCodeStore, MemoryExecutionStore, MemoryImageRegistry, MemoryKeyStore,
    MemoryLockManager, MemoryLogs, MemorySecretStore,
};
use runvoy_task::EndReason;

use super::locks::locked;
use super::world::World;

/// What a service is made of here, beside logs that stay empty and a registry of its own.
pub(crate) struct Ports {
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) executions: Arc<dyn ExecutionStore>,
    pub(crate) locks: Arc<dyn LockManager>,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) audit: Arc<dyn AuditLog>,
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Ports {
    /// The service, and its first admin.
    pub(crate) async fn service(self) -> (Runvoy, Caller) {
        self.service_with(Arc::new(CedarAuthorizer::builtin()), Arc::new(MemoryCodeStore::default())).await
    }

    async fn service_with(
        self,
        authorizer: Arc<dyn Authorizer>,
        code: Arc<MemoryCodeStore>,
    ) -> (Runvoy, Caller) {
        let runvoy = Runvoy::builder()
            .keys(self.keys)
            .executions(self.executions)
            .locks(self.locks)
            .images(Arc::new(MemoryImageRegistry::default()))
            .secrets(self.secrets)
            .code(code)
            .executor(self.world)
            .logs(Arc::new(MemoryLogs::new(self.clock.clone())))
            .audit(self.audit)
            .authorizer(authorizer)
            .clock(self.clock)
            .build()
            .unwrap();
        let key = ApiKey::generate();
        assert!(runvoy.bootstrap_admin("admin@localhost".parse().unwrap(), &key).await.unwrap());
        let caller = runvoy.authenticate(Some(key.reveal()), RequestContext::internal()).await.unwrap();
        (runvoy, caller)
    }
}

pub(crate) struct Bench {
    pub(crate) runvoy: Runvoy,
    pub(crate) caller: Caller,
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) executions: Arc<MemoryExecutionStore>,
    pub(crate) audit: Arc<MemoryAuditLog>,
    pub(crate) keys: Arc<MemoryKeyStore>,
    pub(crate) code: Arc<MemoryCodeStore>,
    pub(crate) locks: Arc<MemoryLockManager>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_secrets(Arc::new(MemorySecretStore::default())).await
    }

    pub(crate) async fn with_secrets(secrets: Arc<dyn SecretStore>) -> Self {
        Self::of(secrets, Arc::new(CedarAuthorizer::builtin())).await
    }

    pub(crate) async fn with_authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self::of(Arc::new(MemorySecretStore::default()), authorizer).await
    }

    async fn of(secrets: Arc<dyn SecretStore>, authorizer: Arc<dyn Authorizer>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let world = Arc::new(World::new(Arc::clone(&clock)));
        let executions = Arc::new(MemoryExecutionStore::default());
        let audit = Arc::new(MemoryAuditLog::default());
        let keys = Arc::new(MemoryKeyStore::default());
        let locks = Arc::new(MemoryLockManager::default());
        let code = Arc::new(MemoryCodeStore::default());
        let ports = Ports {
            keys: keys.clone(),
            executions: executions.clone(),
            locks: locks.clone(),
            secrets,
            audit: audit.clone(),
            world: Arc::clone(&world),
            clock: Arc::clone(&clock),
        };
        let (runvoy, caller) = ports.service_with(authorizer, Arc::clone(&code)).await;
        Self { runvoy, caller, world, clock, executions, audit, keys, code, locks }
    }

    pub(crate) async fn run(&self) -> runvoy_core::execution::Execution {
        let request = RunRequest::new(Command::Shell("make".to_owned()));
        self.runvoy.run(&self.caller, request, None).await.unwrap()
    }

    pub(crate) async fn pass(&self) {
        let report = self.runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
        assert_eq!(report.failed, 0);
    }

    pub(crate) async fn record(&self, id: runvoy_core::id::ExecutionId) -> runvoy_core::execution::Execution {
        self.executions.get(id).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_builder_names_the_port_that_is_missing() {
    let error = Runvoy::builder().build().unwrap_err();
    assert!(error.to_string().contains("Runvoy::builder().keys("), "{error}");
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let bench = Bench::new().await;
    let again = bench.runvoy.bootstrap_admin("other@localhost".parse().unwrap(), &ApiKey::generate()).await;
    assert!(!again.unwrap());
}

#[tokio::test]
async fn a_kill_before_the_claim_closes_the_gate_at_once() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    let outcome = bench.runvoy.kill(&bench.caller, &IdPrefix::from(id), None).await.unwrap();
    let KillOutcome::Initiated(record) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        (record.status, record.status_reason, record.exit_code),
        (Status::Stopped, Some(Reason::Killed), None)
    );
    bench.world.claim(id);
    assert_eq!(bench.world.job(id).runs, 0);
    let again = bench.runvoy.kill(&bench.caller, &IdPrefix::from(id), None).await.unwrap();
    assert!(matches!(again, KillOutcome::AlreadyOver(_)));
}

#[tokio::test]
async fn a_start_that_nobody_finishes_is_tried_again_and_then_given_up() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.never(id);
    bench.pass().await;
    assert_eq!(bench.world.job(id).pending, 0, "its owner is left alone for a minute");
    bench.clock.advance(Duration::from_secs(61));
    bench.pass().await;
    assert_eq!(bench.world.job(id).pending, 1, "then it is started again");
    bench.clock.advance(Duration::from_mins(15));
    bench.pass().await;
    let record = bench.record(id).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::StartFailed)));
    bench.world.claim(id);
    assert_eq!(bench.world.job(id).runs, 0, "the late task runs nothing");
}

#[tokio::test]
async fn whoever_is_alone_starts_again_what_is_gone_without_waiting_for_anybody() {
    let bench = Bench::new().await;
    let alone = ReconcileOptions { alone_since: Some(bench.clock.now()), ..ReconcileOptions::default() };
    let id = bench.run().await.id;
    bench.world.never(id);
    bench.runvoy.reconcile(alone).await.unwrap();
    assert_eq!(bench.world.job(id).pending, 0, "it may be on its way");
    bench.clock.advance(Duration::from_secs(1));
    bench.runvoy.reconcile(alone).await.unwrap();
    assert_eq!(bench.world.job(id).pending, 1);
    bench.clock.advance(Duration::from_secs(1));
    bench.runvoy.reconcile(alone).await.unwrap();
    assert_eq!(bench.world.job(id).pending, 1, "what is there is left alone");
}

#[tokio::test]
async fn a_command_that_was_claimed_and_left_nothing_is_lost_at_once() {
    let bench = Bench::new().await;
    let holder = bench.runvoy.run(&bench.caller, locked("fail"), None).await.unwrap().id;
    let waiter = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap().id;
    let now = bench.clock.now();
    let exit = TaskExit::new(None, EndReason::Lost, now, now);
    // Nobody had heard of the claim.
    let news = TaskEvent { id: holder, state: TaskState::Exited(Box::new(exit)) };
    bench.runvoy.on_task_event(&news).await.unwrap();
    let record = bench.record(holder).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::Lost)));
    assert_eq!(bench.record(waiter).await.status, Status::Starting);
}

#[tokio::test]
async fn a_task_that_outlives_its_timeout_is_stopped_from_outside() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.claim(id);
    bench.pass().await;
    assert_eq!(bench.record(id).await.status, Status::Running);
    bench.clock.advance(Duration::from_secs(3600 + 119));
    bench.pass().await;
    assert!(!bench.world.is_stopping(id));
    bench.clock.advance(Duration::from_secs(2));
    bench.pass().await;
    assert!(bench.world.is_stopping(id));
    bench.world.exit(id, 0);
    bench.pass().await;
    let record = bench.record(id).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::TimedOut)));
}

#[tokio::test]
async fn the_time_that_code_may_take_is_not_taken_from_the_command() {
    let bench = Bench::new().await;
    let repo = Some("https://git.acme.test/a.git".to_owned());
    let request = RunRequest { git_repo: repo, ..RunRequest::new(Command::Shell("make".to_owned())) };
    let id = bench.runvoy.run(&bench.caller, request, None).await.unwrap().id;
    bench.world.claim(id);
    bench.pass().await;
    bench.clock.advance(Duration::from_secs(600 + 3600 + 119));
    bench.pass().await;
    assert!(!bench.world.is_stopping(id));
    bench.clock.advance(Duration::from_secs(2));
    bench.pass().await;
    assert!(bench.world.is_stopping(id));
}

#[tokio::test]
async fn an_executor_that_cannot_tell_ends_nothing() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.claim(id);
    bench.pass().await;
    bench.world.vanish(id);
    bench.world.set_fog(true);
    bench.clock.advance(Duration::from_mins(10));
    bench.pass().await;
    assert_eq!(bench.record(id).await.status, Status::Running);
    bench.world.set_fog(false);
    bench.pass().await;
    assert_eq!(bench.record(id).await.status_reason, Some(Reason::Lost));
}

#[tokio::test]
async fn every_end_of_a_task_has_its_status() {
    let cases = [
        (EndReason::Exited, Some(0), Status::Succeeded, Reason::Exited),
        (EndReason::Exited, Some(7), Status::Failed, Reason::Exited),
        (EndReason::TimedOut, Some(143), Status::Failed, Reason::TimedOut),
        (EndReason::LogLimit, Some(137), Status::Failed, Reason::LogLimit),
        (EndReason::OomKilled, Some(137), Status::Failed, Reason::OomKilled),
        (EndReason::WorkspaceFailed, None, Status::Failed, Reason::WorkspaceFailed),
        (EndReason::StartFailed, None, Status::Failed, Reason::StartFailed),
        (EndReason::Lost, None, Status::Failed, Reason::Lost),
        (EndReason::StoppedOutside, Some(143), Status::Stopped, Reason::StoppedOutside),
        (EndReason::Stopped, Some(143), Status::Stopped, Reason::StoppedOutside),
    ];
    for (reason, exit_code, status, status_reason) in cases {
        let bench = Bench::new().await;
        let id = bench.run().await.id;
        let now = bench.clock.now();
        let exit = TaskExit::new(exit_code, reason, now, now);
        let state = TaskState::Exited(Box::new(exit));
        let event = TaskEvent { id, state };
        // Twice: news may be repeated.
        bench.runvoy.on_task_event(&event).await.unwrap();
        bench.runvoy.on_task_event(&event).await.unwrap();
        let record = bench.record(id).await;
        assert_eq!(
            (record.status, record.status_reason, record.exit_code),
            (status, Some(status_reason), exit_code)
        );
        assert!(record.completed_at.is_some() && record.started_at.is_some());
        assert!(bench.executions.request(id).await.unwrap().is_none(), "the request is wiped");
        let outcomes = bench.audit.read(0, 100).await.unwrap();
        assert_eq!(
            outcomes.iter().filter(|record| record.event().unwrap().kind == AuditKind::Outcome).count(),
            1
        );
    }
}

#[tokio::test]
async fn intent_is_recorded_before_effect_and_names_the_execution() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    let records = bench.audit.read(0, 100).await.unwrap();
    let mut events = records.iter().map(|record| record.event().unwrap());
    let intent = events.find(|event| event.action == "run").unwrap();
    assert_eq!(intent.resource, format!("execution:{id}"));
    assert_eq!(intent.kind, AuditKind::Allowed);
    assert_eq!(intent.detail.as_deref(), Some("make"));
    assert!(intent.policy.is_some());
}

#[tokio::test]
async fn a_second_kill_may_be_less_patient() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.claim(id);
    bench.pass().await;
    let kill = async |grace| bench.runvoy.kill(&bench.caller, &IdPrefix::from(id), grace).await.unwrap();
    assert!(matches!(kill(None).await, KillOutcome::Initiated(_)));
    assert_eq!(bench.record(id).await.status, Status::Terminating);
    assert!(matches!(kill(Some(Duration::from_secs(1))).await, KillOutcome::AlreadyOver(_)));
    assert_eq!(bench.record(id).await.stop.unwrap().grace, Some(1));
    let too_long =
        bench.runvoy.kill(&bench.caller, &IdPrefix::from(id), Some(Duration::from_secs(3601))).await;
    assert!(matches!(too_long, Err(Error::Invalid { field: "grace", .. })));
    assert_eq!(bench.world.describe(&[id]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_secret_shows_in_a_debug_text() {
    let mut request = RunRequest::new(Command::Shell("make".to_owned()));
    request.env.insert("TOKEN".to_owned(), "find-me".to_owned());
    let key = ApiKey::generate();
    let shown = format!("{request:?} {key:?} {:?}", key.hash());
    assert!(!shown.contains("find-me") && !shown.contains(key.reveal()), "{shown}");
}
