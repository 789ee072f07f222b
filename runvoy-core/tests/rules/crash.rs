//! No accepted execution is lost, no command runs twice, none runs after its execution is terminal, none is left live
//! for ever: with a crash at every port call, two service instances, and tasks that start late, twice or never.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use runvoy_core::api::{Command, RunRequest};
use runvoy_core::execution::Execution;
use runvoy_core::id::{ExecutionId, IdPrefix, LockName};
use runvoy_core::key::ApiKey;
use runvoy_core::port::*;
use runvoy_core::state::{Reason, Status};
use runvoy_core::testing::ManualClock;
use runvoy_core::{Caller, Error, ForcedRelease, ReconcileOptions, RequestContext, Runvoy};

use super::fuse::{Fuse, Moment};
use super::lasting::{Lasting, assemble};
use super::lives::any_step;
use super::people::{Act, People};
use super::secrets::{self, SecretAct, Secrets};
use super::told::Told;
use super::world::World;

const KEY: &str = "a-key-that-is-long-enough";

/// What a run wants of two locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Nothing,
    OrFails(usize),
    AndWaits(usize),
}

impl Wants {
    fn put_into(self, request: &mut RunRequest) {
        let (lock, when_held) = match self {
            Self::Nothing => return,
            Self::OrFails(lock) => (lock, "fail"),
            Self::AndWaits(lock) => (lock, "queue"),
        };
        request.lock = Some(name_of(lock));
        request.on_lock_held = Some(when_held.to_owned());
    }
}

fn name_of(lock: usize) -> String {
    format!("lock-{}", lock % 2)
}

/// One step of a story. Numbers pick an instance, an execution, an idempotency key.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Run {
        instance: usize,
        key: usize,
        lock: Wants,
    },
    /// The same with a secret, which may not be there.
    RunWithSecret {
        instance: usize,
        key: usize,
        lock: Wants,
    },
    Secret {
        instance: usize,
        act: SecretAct,
    },
    /// Takes a lock from its holder, who is stopped first.
    ForceRelease {
        instance: usize,
        lock: usize,
    },
    /// Takes a lock from its holder, who may still run.
    Abandon {
        instance: usize,
        lock: usize,
    },
    /// From now on, whoever asks for something is no longer known, or known again.
    Revoke(bool),
    People {
        instance: usize,
        act: Act,
        who: usize,
    },
    Kill {
        instance: usize,
        execution: usize,
    },
    /// A run, a kill, news and a pass at the same time, call by call, on two instances.
    AllAtOnce {
        key: usize,
        lock: Wants,
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
    lasting: Lasting,
    instances: [(Runvoy, Arc<Fuse>); 2],
    crashes: std::vec::IntoIter<(usize, Moment)>,
    /// What a caller was told: by what was asked, the execution.
    accepted: BTreeMap<String, ExecutionId>,
    /// The greatest fencing token of each lock.
    tokens: BTreeMap<LockName, u64>,
    /// What tasks were, for news that come late.
    history: Vec<TaskEvent>,
    people: People,
    secrets: Secrets,
    /// Whether a process died, or two passed over the same records at once.
    disturbed: bool,
    /// Whether a process died.
    died: bool,
}

impl Story {
    async fn new(crashes: Vec<(usize, Moment)>, one_step: bool) -> Self {
        let clock = Arc::new(ManualClock::default());
        let world = Arc::new(World::new(Arc::clone(&clock)));
        let secrets = Secrets::default();
        let lasting = Lasting::new(&clock, one_step, secrets.store.clone());
        let instance = |fuse: &Arc<Fuse>| assemble(fuse, &clock, &world, &lasting);
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
            lasting,
            instances,
            crashes,
            accepted: BTreeMap::new(),
            tokens: BTreeMap::new(),
            history: Vec::new(),
            people: People::default(),
            secrets,
            disturbed: false,
            died: false,
        }
    }

    /// Puts a new process in the place of one that died.
    fn restart(&mut self, at: usize) {
        self.died |= self.instances[at].1.is_blown();
        self.disturbed |= self.died;
        let fuse = self.crashes.next().map_or_else(Fuse::none, |(at, moment)| Fuse::new(at, moment));
        let runvoy = assemble(&fuse, &self.clock, &self.world, &self.lasting);
        self.instances[at] = (runvoy, fuse);
    }

    fn restart_the_dead(&mut self) {
        for at in 0..2 {
            if self.instances[at].1.is_blown() {
                self.restart(at);
            }
        }
    }

    fn execution(&self, pick: usize) -> Option<ExecutionId> {
        let ids = self.world.ids();
        (!ids.is_empty()).then(|| ids[pick % ids.len()])
    }

    async fn take(&mut self, step: &Step) {
        let revoked = self.lasting.authorizer.revoked.load(Ordering::SeqCst);
        let waiting = if revoked { self.waiting().await } else { Vec::new() };
        self.do_step(step).await;
        if self.lasting.authorizer.revoked.load(Ordering::SeqCst) {
            for id in waiting {
                let record = self.lasting.executions.get(id).await.unwrap().unwrap();
                let waits_or_ended = record.status == Status::Queued || record.status.is_terminal();
                assert!(waits_or_ended, "{id} waited, is no longer allowed and is {}", record.status);
                assert_eq!(self.world.job(id).runs, 0, "{id} was no longer allowed and ran");
            }
        }
    }

    /// Who is in line for a lock.
    async fn waiting(&self) -> Vec<ExecutionId> {
        let queued = ListQuery { statuses: Some(vec![Status::Queued]), limit: 1000, ..ListQuery::default() };
        let page = self.lasting.executions.list(&queued).await.unwrap();
        page.executions.into_iter().map(|record| record.id).collect()
    }

    async fn force_release(&mut self, at: usize, lock: usize, how: ForcedRelease) {
        let name: LockName = name_of(lock).parse().unwrap();
        self.act(at, async |runvoy: &Runvoy, caller: &Caller| {
            // A lock that nobody holds: that is an answer too.
            let _ = runvoy.force_release(caller, &name, how).await;
        })
        .await;
    }

    async fn do_step(&mut self, step: &Step) {
        match *step {
            Step::Run { instance, key, lock } => self.run(instance % 2, key, lock).await,
            Step::RunWithSecret { instance, key, lock } => {
                self.run_with_secret(instance % 2, key, lock).await;
            }
            Step::Secret { instance, act } => {
                let number = self.secrets.next();
                self.act(instance % 2, async |runvoy: &Runvoy, caller: &Caller| {
                    act.take(runvoy, caller, number).await;
                })
                .await;
            }
            Step::ForceRelease { instance, lock } => {
                self.force_release(instance % 2, lock, ForcedRelease::StopHolder).await;
            }
            Step::Abandon { instance, lock } => {
                self.force_release(instance % 2, lock, ForcedRelease::Abandon).await;
            }
            Step::People { instance, act, who } => {
                self.people.take(&self.instances, instance, act, who, KEY).await;
                self.restart_the_dead();
            }
            Step::Revoke(revoked) => self.lasting.authorizer.revoked.store(revoked, Ordering::SeqCst),
            Step::Kill { instance, execution } => {
                // Also one that waits for its lock and has no task.
                let ids: Vec<_> = self.accepted.values().copied().collect();
                if let Some(id) = ids.get(execution % ids.len().max(1)).copied() {
                    self.act(instance % 2, async |runvoy: &Runvoy, caller: &Caller| {
                        // An execution whose creator died before the record is not there: that is an answer too.
                        let _ = runvoy.kill(caller, &IdPrefix::from(id), None).await;
                    })
                    .await;
                }
            }
            Step::AllAtOnce { key, lock, execution } => self.all_at_once(key, lock, execution).await,
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

    async fn run(&mut self, at: usize, key: usize, lock: Wants) {
        let done = self.act(at, async move |runvoy, caller| ask(runvoy, caller, key, lock).await).await;
        self.accept(key, lock, done).await;
    }

    async fn run_with_secret(&mut self, at: usize, key: usize, lock: Wants) {
        let done = self.act(at, async move |runvoy, caller| {
            let mut request = secrets::request();
            lock.put_into(&mut request);
            let key = format!("{}-with-secret", asked(key, lock)).parse().unwrap();
            runvoy.run(caller, request, Some(key)).await
        });
        match done.await {
            Some(Ok(record)) => assert!(!record.secrets.is_empty(), "{} forgot its secret", record.id),
            // It is not there, or the lock is held, or nothing is allowed any more: answers too.
            Some(Err(
                Error::Invalid { field: "secrets", .. } | Error::LockHeld { .. } | Error::Denied { .. },
            ))
            | None => {}
            Some(Err(other)) => panic!("nothing here refuses a run: {other}"),
        }
    }

    async fn accept(&mut self, key: usize, lock: Wants, done: Option<Result<Execution, Error>>) {
        match done {
            Some(Ok(record)) => {
                let id = record.id;
                let first = *self.accepted.entry(asked(key, lock)).or_insert(id);
                let before = self.lasting.executions.get(first).await.unwrap().unwrap();
                if before.status_reason == Some(Reason::LockHeld) {
                    // Its key was free again.
                    self.accepted.insert(asked(key, lock), id);
                } else {
                    assert_eq!(first, id, "one key, two executions");
                }
            }
            Some(Err(Error::LockHeld { .. })) => assert!(matches!(lock, Wants::OrFails(_))),
            Some(Err(Error::Denied { .. })) => {
                assert!(self.lasting.authorizer.revoked.load(Ordering::SeqCst));
            }
            Some(Err(other)) => panic!("nothing here refuses a run: {other}"),
            None => {}
        }
    }

    async fn all_at_once(&mut self, key: usize, lock: Wants, execution: usize) {
        self.disturbed = true;
        let [(a, fuse_a), (b, fuse_b)] = self.instances.clone();
        let ids: Vec<_> = self.accepted.values().copied().collect();
        let picked = ids.get(execution % ids.len().max(1)).copied();
        let event = self.execution(execution).map(|id| TaskEvent { id, state: self.world.state(id) });
        let known =
            async |runvoy: &Runvoy| runvoy.authenticate(Some(KEY), RequestContext::internal()).await.unwrap();
        let run = async { ask(&a, &known(&a).await, key, lock).await };
        let kill = async {
            if let Some(id) = picked {
                let _ = b.kill(&known(&b).await, &IdPrefix::from(id), None).await;
            }
        };
        let news = async |runvoy: &Runvoy| {
            if let Some(event) = &event {
                runvoy.on_task_event(event).await.unwrap();
            }
        };
        // The second instance hears the same, and then makes its pass.
        let pass = async {
            news(&b).await;
            b.reconcile(ReconcileOptions::default()).await.unwrap();
        };
        let (done, ..) =
            tokio::join!(fuse_a.live(run), fuse_b.live(kill), fuse_a.live(news(&a)), fuse_b.live(pass),);
        self.restart_the_dead();
        self.accept(key, lock, done).await;
    }

    async fn reconcile(&mut self, at: usize) {
        self.act(at, async |runvoy: &Runvoy, _: &Caller| {
            runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
        })
        .await;
    }

    async fn reconcile_twice(&mut self) {
        self.disturbed = true;
        let [(a, fuse_a), (b, fuse_b)] = self.instances.clone();
        let pass = async |runvoy: Runvoy| {
            runvoy.reconcile(ReconcileOptions::default()).await.unwrap();
        };
        tokio::join!(fuse_a.live(pass(a.clone())), fuse_b.live(pass(b)), fuse_a.live(pass(a)));
        self.restart_the_dead();
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
        let lasting = |event: &TaskEvent| event.state != TaskState::Unknown;
        self.history.extend(states.filter(lasting));
    }

    async fn check(&mut self) {
        self.secrets.check(&self.world, self.lasting.executions.as_ref()).await;
        self.check_locks().await;
        self.people.check(self.lasting.keys.as_ref()).await;
        for id in self.accepted.values() {
            assert!(
                self.lasting.executions.get(*id).await.unwrap().is_some(),
                "{id} was accepted and is not recorded"
            );
        }
        for id in self.world.ids() {
            let job = self.world.job(id);
            assert!(job.runs <= 1, "{id} ran {} times", job.runs);
            let record = self.lasting.executions.get(id).await.unwrap().expect("a task without a record");
            if record.status.is_terminal() {
                assert!(!job.running, "{id} is {} and its command runs", record.status);
            }
            if record.status == Status::Succeeded {
                assert_eq!(job.runs, 1, "{id} succeeded without having run");
            }
        }
    }

    /// Never two tasks that can run under one lock, and tokens only grow.
    async fn check_locks(&mut self) {
        let mut running: BTreeMap<LockName, ExecutionId> = BTreeMap::new();
        for id in self.world.ids() {
            let record = self.lasting.executions.get(id).await.unwrap().expect("a task without a record");
            // Whose lock was taken while it ran: the one exception, and its record says so.
            let Some(lock) = record.lock.filter(|lock| lock.abandoned_by.is_none()) else { continue };
            if self.world.job(id).running {
                assert!(lock.token.is_some(), "{id} runs without its lock");
                let other = running.insert(lock.name.clone(), id);
                assert_eq!(other, None, "two run under {}", lock.name);
            }
        }
        for (name, lock) in self.lasting.locks.list().await.unwrap() {
            let last = self.tokens.entry(name.clone()).or_default();
            assert!(lock.token >= *last, "the token of {name} went back");
            *last = lock.token;
            if let (Some(id), Some(holder)) = (running.get(&name), &lock.holder) {
                assert_eq!(*id, holder.execution, "{id} runs and does not hold {name}");
            }
        }
    }

    /// The audit log allowed whatever is recorded, before it was, and tells every end: once where nothing disturbed it.
    async fn check_told(&self) {
        let told = Told::read(self.lasting.audit.as_ref()).await;
        let all = ListQuery { limit: 1000, ..ListQuery::default() };
        let records = self.lasting.executions.list(&all).await.unwrap().executions;
        let ids = records.iter().map(|record| record.id);
        for id in ids.clone().chain(self.world.ids()) {
            assert!(told.is_allowed(id), "the audit log does not tell that {id} was allowed");
        }
        for id in ids {
            let ends = told.ends(id);
            assert!(ends >= 1, "the audit log does not tell how {id} ended");
            assert!(ends == 1 || self.disturbed, "the audit log tells {ends} times how {id} ended");
        }
        assert_eq!(self.lasting.executions.outcomes_owed(1000).await.unwrap(), []);
    }

    /// Nothing crashes any more: everything comes to an end, though tasks go on starting late.
    async fn heal(&mut self, late_tasks: bool) {
        self.world.set_fog(false);
        self.lasting.authorizer.revoked.store(false, Ordering::SeqCst);
        self.crashes = Vec::new().into_iter();
        self.restart(0);
        self.restart(1);
        for round in 0..60 {
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
        for record in self.lasting.executions.list(&all).await.unwrap().executions {
            assert!(record.status.is_terminal(), "{} is {} for ever", record.id, record.status);
            // Its gate is closed: a task that starts now runs nothing.
            let before = self.world.job(record.id).runs;
            self.world.claim(record.id);
            assert_eq!(self.world.job(record.id).runs, before, "{} ran after its end", record.id);
        }
        self.people.check_audit(self.lasting.audit.as_ref()).await;
        self.secrets.check_audit(&self.world, self.lasting.audit.as_ref()).await;
        assert_eq!(
            self.lasting.locks.list().await.unwrap(),
            [],
            "a lock is left behind, or a waiter forgotten"
        );
        self.check_told().await;
    }
}

/// What stands for a request: the same again is the same execution.
fn asked(key: usize, lock: Wants) -> String {
    format!("key-{key}-{lock:?}").replace([' ', '(', ')'], "")
}

async fn ask(runvoy: &Runvoy, caller: &Caller, key: usize, lock: Wants) -> Result<Execution, Error> {
    let mut request = RunRequest::new(Command::Shell("true".to_owned()));
    lock.put_into(&mut request);
    runvoy.run(caller, request, Some(asked(key, lock).parse().unwrap())).await
}

/// Plays a story to its end; answers whether a process died over it.
pub(crate) fn play(steps: &[Step], crashes: Vec<(usize, Moment)>, late_tasks: bool, one_step: bool) -> bool {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut story = Story::new(crashes, one_step).await;
        for step in steps {
            story.take(step).await;
        }
        story.heal(late_tasks).await;
        story.died
    })
}

pub(crate) fn moments() -> [Moment; 2] {
    [Moment::BeforeTheEffect, Moment::AfterTheEffect]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_left_over(
        steps in prop::collection::vec(any_step(), 1..40),
        crashes in prop::collection::vec((0_usize..40, prop::sample::select(moments().to_vec())), 0..6),
        late_tasks: bool,
        one_step: bool,
    ) {
        play(&steps, crashes, late_tasks, one_step);
    }
}
