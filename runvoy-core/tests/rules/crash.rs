//! No accepted execution is lost, no command runs twice, none runs after its execution is terminal, none is left live
//! for ever: with a crash at every port call, two service instances, and tasks that start late, twice or never.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::id::{ExecutionId, IdPrefix};
use runvoy_core::key::ApiKey;
use runvoy_core::port::*;
use runvoy_core::state::Status;
use runvoy_core::testing::ManualClock;
use runvoy_core::{Caller, ReconcileOptions, RequestContext, Runvoy};
use runvoy_local::memory::{MemoryAuditLog, MemoryExecutionStore, MemoryKeyStore, MemoryLogs};

use super::fuse::{Fuse, Fused, Moment};
use super::world::World;

const KEY: &str = "a-key-that-is-long-enough";

struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        Ok(Decision::Allow { policy: None })
    }
}

/// One step of a story. Numbers pick an instance, an execution, an idempotency key.
#[derive(Clone, Debug)]
enum Step {
    Run {
        instance: usize,
        key: usize,
    },
    Kill {
        instance: usize,
        execution: usize,
    },
    Reconcile {
        instance: usize,
    },
    ReconcileTwice,
    /// News of a task; `late` delivers what it was at an earlier step.
    News {
        instance: usize,
        execution: usize,
        late: usize,
    },
    Claim {
        execution: usize,
    },
    Never {
        execution: usize,
    },
    Exit {
        execution: usize,
        code: i32,
    },
    Vanish {
        execution: usize,
    },
    Fog(bool),
    Wait {
        seconds: u64,
    },
}

/// Everything that outlives a process, and two processes.
struct Story {
    clock: Arc<ManualClock>,
    world: Arc<World>,
    keys: Arc<dyn KeyStore>,
    executions: Arc<dyn ExecutionStore>,
    logs: Arc<dyn LogSource>,
    audit: Arc<dyn AuditLog>,
    instances: [(Runvoy, Arc<Fuse>); 2],
    crashes: std::vec::IntoIter<(usize, Moment)>,
    /// What a caller was told: by idempotency key, the execution.
    accepted: BTreeMap<usize, ExecutionId>,
    /// What tasks were, for news that come late.
    history: Vec<TaskEvent>,
}

impl Story {
    async fn new(crashes: Vec<(usize, Moment)>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let world = Arc::new(World::new(Arc::clone(&clock)));
        let keys: Arc<dyn KeyStore> = Arc::new(MemoryKeyStore::default());
        let executions: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::default());
        let logs: Arc<dyn LogSource> = Arc::new(MemoryLogs::new(clock.clone()));
        let audit: Arc<dyn AuditLog> = Arc::new(MemoryAuditLog::default());
        let instance = |fuse: &Arc<Fuse>| {
            assemble(
                fuse,
                &clock,
                &world,
                [keys.clone()],
                [executions.clone()],
                [logs.clone()],
                [audit.clone()],
            )
        };
        let mut crashes = crashes.into_iter();
        let fuses =
            [(); 2].map(|()| crashes.next().map_or_else(Fuse::none, |(at, moment)| Fuse::new(at, moment)));
        let instances = fuses.map(|fuse| (instance(&fuse), fuse));
        let first = instance(&Fuse::none());
        first
            .bootstrap_admin("admin@localhost".parse().unwrap(), &ApiKey::parse(KEY).unwrap())
            .await
            .unwrap();
        drop(first);
        Self {
            clock,
            world,
            keys,
            executions,
            logs,
            audit,
            instances,
            crashes,
            accepted: BTreeMap::new(),
            history: Vec::new(),
        }
    }

    /// Puts a new process in the place of one that died.
    fn restart(&mut self, at: usize) {
        let fuse = self.crashes.next().map_or_else(Fuse::none, |(at, moment)| Fuse::new(at, moment));
        let (keys, executions) = ([self.keys.clone()], [self.executions.clone()]);
        let (logs, audit) = ([self.logs.clone()], [self.audit.clone()]);
        let runvoy = assemble(&fuse, &self.clock, &self.world, keys, executions, logs, audit);
        self.instances[at] = (runvoy, fuse);
    }

    fn execution(&self, pick: usize) -> Option<ExecutionId> {
        let ids = self.world.ids();
        (!ids.is_empty()).then(|| ids[pick % ids.len()])
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Run { instance, key } => self.run(instance % 2, key).await,
            Step::Kill { instance, execution } => {
                if let Some(id) = self.execution(execution) {
                    self.act(instance % 2, async |runvoy: &Runvoy, caller: &Caller| {
                        // An execution whose creator died before the record is not there: that is an answer too.
                        let _ = runvoy.kill(caller, &IdPrefix::from(id), None).await;
                    })
                    .await;
                }
            }
            Step::Reconcile { instance } => self.reconcile(instance % 2).await,
            Step::ReconcileTwice => self.reconcile_twice().await,
            Step::News { instance, execution, late } => self.news(instance % 2, execution, late).await,
            Step::Claim { execution } => {
                self.execution(execution).into_iter().for_each(|id| self.world.claim(id));
            }
            Step::Never { execution } => {
                self.execution(execution).into_iter().for_each(|id| self.world.never(id));
            }
            Step::Exit { execution, code } => {
                if let Some(id) = self.execution(execution) {
                    self.world.exit(id, code);
                }
            }
            Step::Vanish { execution } => {
                self.execution(execution).into_iter().for_each(|id| self.world.vanish(id));
            }
            Step::Fog(fog) => self.world.set_fog(fog),
            Step::Wait { seconds } => self.clock.advance(Duration::from_secs(seconds)),
        }
        self.remember();
        self.check().await;
    }

    /// Lets an instance do something; one that dies over it is replaced.
    async fn act<T>(&mut self, at: usize, work: impl AsyncFnOnce(&Runvoy, &Caller) -> T) -> Option<T> {
        let (runvoy, fuse) = self.instances[at].clone();
        let done = fuse
            .live(async {
                let caller = runvoy.authenticate(Some(KEY), RequestContext::internal()).await.unwrap();
                work(&runvoy, &caller).await
            })
            .await;
        if fuse.is_blown() {
            self.restart(at);
        }
        done
    }

    async fn run(&mut self, at: usize, key: usize) {
        let idempotency = format!("key-{key}").parse().unwrap();
        let done = self
            .act(at, async move |runvoy: &Runvoy, caller: &Caller| {
                let request = RunRequest::new(Command::Shell("true".to_owned()));
                runvoy.run(caller, request, Some(idempotency)).await
            })
            .await;
        if let Some(answer) = done {
            let id = answer.expect("nothing here refuses a run").id;
            let first = *self.accepted.entry(key).or_insert(id);
            assert_eq!(first, id, "one key, two executions");
        }
    }

    async fn reconcile(&mut self, at: usize) {
        self.act(at, async |runvoy: &Runvoy, _: &Caller| {
            runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
        })
        .await;
    }

    async fn reconcile_twice(&mut self) {
        let [(a, fuse_a), (b, fuse_b)] = self.instances.clone();
        let pass = async |runvoy: Runvoy| {
            runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
        };
        tokio::join!(fuse_a.live(pass(a.clone())), fuse_b.live(pass(b)), fuse_a.live(pass(a)));
        for at in 0..2 {
            if self.instances[at].1.is_blown() {
                self.restart(at);
            }
        }
    }

    async fn news(&mut self, at: usize, execution: usize, late: usize) {
        let event = match self.history.len().checked_sub(late + 1) {
            Some(index) if late > 0 => self.history[index].clone(),
            _ => match self.execution(execution) {
                Some(id) => TaskEvent { id, state: self.world.state(id) },
                None => return,
            },
        };
        self.act(at, async |runvoy: &Runvoy, _: &Caller| runvoy.on_task_event(&event).await.unwrap()).await;
    }

    fn remember(&mut self) {
        let states = self.world.ids().into_iter().map(|id| TaskEvent { id, state: self.world.state(id) });
        // `Gone` of a task that nobody had claimed is no news that a platform may repeat later: one may have started.
        let lasting = |event: &TaskEvent| !matches!(event.state, TaskState::Gone | TaskState::Unknown);
        self.history.extend(states.filter(lasting));
    }

    async fn check(&self) {
        for id in self.accepted.values() {
            assert!(
                self.executions.get(*id).await.unwrap().is_some(),
                "{id} was accepted and is not recorded"
            );
        }
        for id in self.world.ids() {
            let job = self.world.job(id);
            assert!(job.runs <= 1, "{id} ran {} times", job.runs);
            let record = self.executions.get(id).await.unwrap().expect("a task without a record");
            if record.status.is_terminal() {
                assert!(!job.running, "{id} is {} and its command runs", record.status);
            }
            if record.status == Status::Succeeded {
                assert_eq!(job.runs, 1, "{id} succeeded without having run");
            }
        }
    }

    /// Nothing crashes any more: everything comes to an end, though tasks go on starting late.
    async fn heal(&mut self, late_tasks: bool) {
        self.world.set_fog(false);
        self.crashes = Vec::new().into_iter();
        self.restart(0);
        self.restart(1);
        for round in 0..40 {
            self.reconcile(round % 2).await;
            for id in self.world.ids() {
                if late_tasks && round > 2 {
                    self.world.claim(id);
                }
                if self.world.is_stopping(id) || round > 5 {
                    self.world.exit(id, 0);
                }
            }
            self.clock.advance(Duration::from_secs(70));
            self.check().await;
        }
        let all = ListQuery { limit: 1000, ..ListQuery::default() };
        for record in self.executions.list(&all).await.unwrap().executions {
            assert!(record.status.is_terminal(), "{} is {} for ever", record.id, record.status);
            // Its gate is closed: a task that starts now runs nothing.
            let before = self.world.job(record.id).runs;
            self.world.claim(record.id);
            assert_eq!(self.world.job(record.id).runs, before, "{} ran after its end", record.id);
        }
    }
}

fn assemble(
    fuse: &Arc<Fuse>,
    clock: &Arc<ManualClock>,
    world: &Arc<World>,
    [keys]: [Arc<dyn KeyStore>; 1],
    [executions]: [Arc<dyn ExecutionStore>; 1],
    [logs]: [Arc<dyn LogSource>; 1],
    [audit]: [Arc<dyn AuditLog>; 1],
) -> Runvoy {
    fn fused<T: ?Sized>(fuse: &Arc<Fuse>, inner: Arc<T>) -> Arc<Fused<T>> {
        Arc::new(Fused { fuse: Arc::clone(fuse), inner })
    }
    let executor: Arc<dyn Executor> = world.clone();
    let authorizer: Arc<dyn Authorizer> = Arc::new(AllowAll);
    Runvoy::builder()
        .keys(fused(fuse, keys))
        .executions(fused(fuse, executions))
        .executor(fused(fuse, executor))
        .logs(fused(fuse, logs))
        .audit(fused(fuse, audit))
        .authorizer(fused(fuse, authorizer))
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn play(steps: &[Step], crashes: Vec<(usize, Moment)>, late_tasks: bool) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut story = Story::new(crashes).await;
        for step in steps {
            story.take(step).await;
        }
        story.heal(late_tasks).await;
    });
}

fn moments() -> [Moment; 2] {
    [Moment::BeforeTheEffect, Moment::AfterTheEffect]
}

/// Lives that touch every operation; each is played with a crash at each of its port calls.
fn plain_lives() -> Vec<Vec<Step>> {
    let run = Step::Run { instance: 0, key: 0 };
    let claim = Step::Claim { execution: 0 };
    let news = Step::News { instance: 0, execution: 0, late: 0 };
    let exit = Step::Exit { execution: 0, code: 0 };
    let kill = Step::Kill { instance: 0, execution: 0 };
    let mend = [Step::Wait { seconds: 61 }, Step::Reconcile { instance: 0 }];
    let again = Step::Run { instance: 0, key: 0 };
    let vanish = Step::Vanish { execution: 0 };
    let with_mending = |steps: &[Step]| steps.iter().cloned().chain(mend.clone()).collect::<Vec<_>>();
    vec![
        with_mending(&[run.clone(), claim.clone(), news.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), again.clone(), claim.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), kill.clone(), claim.clone(), news.clone()]),
        with_mending(&[run.clone(), claim.clone(), kill.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), claim.clone(), news.clone(), kill.clone(), vanish.clone(), news.clone()]),
        with_mending(&[run.clone(), claim, news.clone(), vanish, news]),
        with_mending(&[
            run,
            Step::Never { execution: 0 },
            Step::Wait { seconds: 1000 },
            Step::ReconcileTwice,
            exit,
            again,
            kill,
        ]),
    ]
}

#[test]
fn a_crash_at_every_port_call_of_a_plain_life() {
    for life in plain_lives() {
        for at in 0..60 {
            for moment in moments() {
                for late_tasks in [false, true] {
                    play(&life, vec![(at, moment)], late_tasks);
                }
            }
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let execution = 0_usize..4;
    let instance = 0_usize..2;
    prop_oneof![
        4 => (instance.clone(), 0_usize..4).prop_map(|(instance, key)| Step::Run { instance, key }),
        2 => (instance.clone(), execution.clone()).prop_map(|(instance, execution)| Step::Kill { instance, execution }),
        2 => instance.clone().prop_map(|instance| Step::Reconcile { instance }),
        1 => Just(Step::ReconcileTwice),
        3 => (instance, execution.clone(), 0_usize..8)
            .prop_map(|(instance, execution, late)| Step::News { instance, execution, late }),
        4 => execution.clone().prop_map(|execution| Step::Claim { execution }),
        1 => execution.clone().prop_map(|execution| Step::Never { execution }),
        3 => (execution.clone(), 0_i32..2).prop_map(|(execution, code)| Step::Exit { execution, code }),
        1 => execution.prop_map(|execution| Step::Vanish { execution }),
        1 => any::<bool>().prop_map(Step::Fog),
        2 => (1_u64..1200).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_left_over(
        steps in prop::collection::vec(any_step(), 1..40),
        crashes in prop::collection::vec((0_usize..40, prop::sample::select(moments().to_vec())), 0..6),
        late_tasks: bool,
    ) {
        play(&steps, crashes, late_tasks);
    }
}
