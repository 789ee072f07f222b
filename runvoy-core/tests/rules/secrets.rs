//! Secrets: what a run gets, which version that was, and what is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runvoy_core::api::{Command, CreateSecretRequest, RunRequest, UpdateSecretRequest};
use runvoy_core::execution::Execution;
use runvoy_core::id::{ExecutionId, RequestId};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{
    AuditEvent, AuditKind, AuditLog, ExecutionStore, KeyStore as _, SecretStore, TaskEvent, User,
};
use runvoy_core::secrets::SecretUse;
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Caller, Error, RequestContext, Runvoy};
use runvoy_local::memory::MemorySecretStore;

use super::service::Bench;
use super::world::World;

const NAME: &str = "deploy";

/// A run with the secret of all these tests.
pub(crate) fn request() -> RunRequest {
    RunRequest { secrets: vec![NAME.to_owned()], ..RunRequest::new(Command::Shell("make".to_owned())) }
}

pub(crate) fn new(name: &str, key_name: &str, value: &str) -> CreateSecretRequest {
    CreateSecretRequest {
        name: name.to_owned(),
        key_name: key_name.to_owned(),
        value: value.to_owned(),
        description: None,
    }
}

fn value(value: &str) -> UpdateSecretRequest {
    UpdateSecretRequest { value: Some(value.to_owned()), ..UpdateSecretRequest::default() }
}

/// What somebody does to a secret in a story.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SecretAct {
    Create,
    Update,
    Reveal,
    Delete,
}

impl SecretAct {
    pub(crate) const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Reveal, Self::Delete];

    /// Does it. That it is there already, or not there, is an answer too.
    pub(crate) async fn take(self, runvoy: &Runvoy, caller: &Caller, number: usize) {
        let text = format!("value {number}");
        let done = match self {
            Self::Create => runvoy.create_secret(caller, &new(NAME, "TOKEN", &text)).await,
            Self::Update => runvoy.update_secret(caller, NAME, &value(&text)).await,
            Self::Reveal => runvoy.reveal_secret(caller, NAME).await.map(|(secret, _)| secret),
            Self::Delete => runvoy.delete_secret(caller, NAME).await,
        };
        match done {
            Ok(_) | Err(Error::SecretExists { .. } | Error::SecretNotFound { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// The secrets of a story, and every value that one ever had.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) store: Arc<MemorySecretStore>,
    count: usize,
    /// By value: the request that made the secret, and the version.
    had: BTreeMap<String, (RequestId, u64)>,
}

impl Secrets {
    /// No value is used twice.
    pub(crate) fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// Every task got a value that its secret had, of one secret only, to be masked, and the record says which.
    pub(crate) async fn check(&mut self, world: &World, executions: &dyn ExecutionStore) {
        if let Some(secret) = self.store.get(&NAME.parse().unwrap()).await.unwrap() {
            let made_by = secret.created_by_request_id;
            let (secret, value) = self.store.reveal(&secret.name, made_by).await.unwrap().unwrap();
            self.had.insert(value.reveal().to_owned(), (made_by, secret.version));
        }
        for id in world.ids() {
            let mut makers = Vec::new();
            let record = executions.get(id).await.unwrap().unwrap();
            for (secrets, mask) in world.job(id).given {
                let values: Vec<_> = secrets.values().map(|value| value.reveal().to_owned()).collect();
                assert_eq!(values, mask);
                assert_eq!(values.len(), usize::from(!record.secrets.is_empty()), "{id} got {secrets:?}");
                for value in values {
                    let (made_by, version) = self.had.get(&value).expect("a value that it had");
                    makers.push(*made_by);
                    let given = SecretUse { name: NAME.parse().unwrap(), version: Some(*version) };
                    assert!(record.secrets.contains(&given), "{id} got {given:?}: {:?}", record.secrets);
                }
            }
            makers.dedup();
            assert!(makers.len() <= 1, "{id} got values of {} secrets", makers.len());
        }
    }

    /// Whatever was given was recorded, and whatever is there.
    pub(crate) async fn check_audit(&self, world: &World, audit: &dyn AuditLog) {
        let events = events(audit).await;
        let told = |action: &str, detail: Option<&str>| {
            events.iter().any(|event| {
                (event.kind, event.action.as_str(), event.resource.as_str())
                    == (AuditKind::Allowed, action, "secret:deploy")
                    && detail.is_none_or(|detail| event.detail.as_deref() == Some(detail))
            })
        };
        for id in world.ids() {
            let got = world.job(id).given.iter().any(|(secrets, _)| !secrets.is_empty());
            assert!(!got || told("use_secret", Some(&format!("by execution {id}"))), "{id}");
        }
        assert!(self.had.is_empty() || told("create_secret", None));
    }
}

async fn events(audit: &dyn AuditLog) -> Vec<AuditEvent> {
    let records = audit.read(0, usize::MAX).await.unwrap();
    records.iter().map(|record| record.event().unwrap()).collect()
}

pub(crate) async fn run(bench: &Bench, request: RunRequest) -> Execution {
    bench.runvoy.run(&bench.caller, request, None).await.unwrap()
}

async fn refused(bench: &Bench, request: RunRequest) -> (&'static str, String) {
    match bench.runvoy.run(&bench.caller, request, None).await.unwrap_err() {
        Error::Invalid { field, message } => (field, message),
        other => panic!("{other}"),
    }
}

/// The variables of an execution's last task.
pub(crate) fn given(bench: &Bench, id: ExecutionId) -> Vec<(String, String)> {
    let (secrets, _) = bench.world.job(id).given.last().cloned().unwrap();
    secrets.into_iter().map(|(name, value)| (name, value.reveal().to_owned())).collect()
}

fn uses(record: &Execution) -> Vec<(String, Option<u64>)> {
    record.secrets.iter().map(|used| (used.name.to_string(), used.version)).collect()
}

pub(crate) fn pair<T>(name: &str, other: T) -> (String, T) {
    (name.to_owned(), other)
}

#[tokio::test]
async fn a_run_gets_its_secrets_by_their_key_names_and_the_record_says_which_versions() {
    let bench = Bench::new().await;
    for secret in [new("a", "A_TOKEN", "value of a"), new("b", "B_TOKEN", "value of b")] {
        bench.runvoy.create_secret(&bench.caller, &secret).await.unwrap();
    }
    bench.runvoy.update_secret(&bench.caller, "b", &value("another of b")).await.unwrap();
    let names = ["b", "a", "b"].map(str::to_owned).to_vec();
    let env = BTreeMap::from([pair("A_TOKEN", "the caller's".to_owned())]);
    let record = run(&bench, RunRequest { secrets: names, env, ..request() }).await;
    assert_eq!(uses(&bench.record(record.id).await), [pair("b", Some(2)), pair("a", Some(1))]);
    let (secrets, mask) = bench.world.job(record.id).given.pop().unwrap();
    assert_eq!(secrets["A_TOKEN"].reveal(), "value of a", "the executor puts the caller's over it");
    assert_eq!(secrets["B_TOKEN"].reveal(), "another of b");
    assert_eq!(mask, ["another of b", "value of a"], "masked also where a variable hides it");
    let stored = format!("{:?}", bench.executions.request(record.id).await.unwrap());
    assert!(!stored.contains("value"), "{stored}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name_and_has_no_effect() {
    let bench = Bench::new().await;
    for secret in [new("a", "TOKEN", "a"), new("b", "TOKEN", "b")] {
        bench.runvoy.create_secret(&bench.caller, &secret).await.unwrap();
    }
    let with = |names: &[&str]| RunRequest {
        secrets: names.iter().map(|name| (*name).to_owned()).collect(),
        ..request()
    };
    for (names, part) in [
        (&["a", "none"][..], "there is no secret `none`"),
        (&["a", ""], "a secret's name is"),
        (&["a b"], "a secret's name is"),
        (&["a", "b"], "`a` and `b` both go into `TOKEN`"),
    ] {
        let (field, message) = refused(&bench, with(names)).await;
        assert!(field == "secrets" && message.contains(part), "{message}");
    }
    let many: Vec<_> = (0..21).map(|n| format!("s{n}")).collect();
    let (_, message) = refused(&bench, RunRequest { secrets: many, ..request() }).await;
    assert_eq!(message, "at most 20, these are 21");
    assert_eq!(bench.world.ids(), []);
    for (secret, field) in [
        (new("", "K", "v"), "name"),
        (new("a/b", "K", "v"), "name"),
        (new("c", "", "v"), "key_name"),
        (new("c", "1K", "v"), "key_name"),
        (new("c", "RUNVOY_USER", "v"), "key_name"),
        (new("c", "K", ""), "value"),
        (new("c", "K", "a\0b"), "value"),
        (new("c", "K", &"x".repeat(8193)), "value"),
        (CreateSecretRequest { description: Some("x".repeat(1025)), ..new("c", "K", "v") }, "description"),
    ] {
        let error = bench.runvoy.create_secret(&bench.caller, &secret).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { field: found, .. } if *found == field), "{field}: {error}");
    }
    assert_eq!(bench.runvoy.secrets(&bench.caller).await.unwrap().len(), 2);
    let error = bench.runvoy.create_secret(&bench.caller, &new("a", "K", "v")).await.unwrap_err();
    assert!(matches!(error, Error::SecretExists { .. }), "{error}");
    assert_eq!(bench.runvoy.reveal_secret(&bench.caller, "a").await.unwrap().1.reveal(), "a");
}

/// One that holds a lock, and one with a secret that waits for it.
async fn one_waits(bench: &Bench) -> (ExecutionId, ExecutionId) {
    bench.runvoy.create_secret(&bench.caller, &new(NAME, "TOKEN", "first")).await.unwrap();
    let (holder, waiter) = waits_with(bench, &[NAME]).await;
    assert_eq!(uses(&bench.record(waiter).await), [pair(NAME, None)]);
    (holder, waiter)
}

/// One that holds a lock, and one with these secrets that waits for it.
async fn waits_with(bench: &Bench, names: &[&str]) -> (ExecutionId, ExecutionId) {
    let with = |names: &[&str]| RunRequest {
        secrets: names.iter().map(|name| (*name).to_owned()).collect(),
        lock: Some("prod".to_owned()),
        on_lock_held: Some("queue".to_owned()),
        ..request()
    };
    let holder = run(bench, with(&[])).await;
    let waiter = run(bench, with(names)).await;
    assert_eq!((holder.status, waiter.status), (Status::Starting, Status::Queued));
    (holder.id, waiter.id)
}

async fn end(bench: &Bench, id: ExecutionId) {
    bench.world.claim(id);
    bench.world.exit(id, 0);
    let event = TaskEvent { id, state: bench.world.state(id) };
    bench.runvoy.on_task_event(&event).await.unwrap();
}

#[tokio::test]
async fn whoever_waited_gets_the_value_of_the_time_when_it_starts() {
    let bench = Bench::new().await;
    let (holder, waiter) = one_waits(&bench).await;
    bench.runvoy.update_secret(&bench.caller, NAME, &value("second")).await.unwrap();
    end(&bench, holder).await;
    assert_eq!(given(&bench, waiter), [pair("TOKEN", "second".to_owned())]);
    assert_eq!(uses(&bench.record(waiter).await), [pair(NAME, Some(2))]);
}

#[tokio::test]
async fn a_secret_that_was_deleted_is_given_to_nobody_nor_is_another_of_its_name() {
    for again in [false, true] {
        let bench = Bench::new().await;
        let (holder, waiter) = one_waits(&bench).await;
        bench.runvoy.delete_secret(&bench.caller, NAME).await.unwrap();
        if again {
            let other = RequestContext { request_id: RequestId::random(), ..RequestContext::internal() };
            let key = ApiKey::generate();
            let user = User::new(
                "other@localhost".parse().unwrap(),
                runvoy_core::id::Role::Developer,
                jiff::Timestamp::UNIX_EPOCH,
                RequestId::random(),
            );
            bench.keys.insert(user, key.hash()).await.unwrap();
            let other = bench.runvoy.authenticate(Some(key.reveal()), other).await.unwrap();
            bench.runvoy.create_secret(&other, &new(NAME, "TOKEN", "another's")).await.unwrap();
        }
        end(&bench, holder).await;
        let record = bench.record(waiter).await;
        assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::StartFailed)));
        let detail = record.status_detail.unwrap();
        assert!(detail.contains("`deploy` was deleted"), "{detail}");
        assert!(!bench.world.ids().contains(&waiter) || bench.world.job(waiter).given.is_empty());
        // Its lock is free.
        let next = RunRequest { lock: Some("prod".to_owned()), secrets: Vec::new(), ..request() };
        assert_eq!(run(&bench, next).await.status, Status::Starting);
    }
}

#[tokio::test]
async fn a_secret_never_replaces_another_whose_variable_it_was_given_meanwhile() {
    let bench = Bench::new().await;
    for secret in [new("a", "A_TOKEN", "value of a"), new("b", "B_TOKEN", "value of b")] {
        bench.runvoy.create_secret(&bench.caller, &secret).await.unwrap();
    }
    let (holder, waiter) = waits_with(&bench, &["a", "b"]).await;
    let change =
        UpdateSecretRequest { key_name: Some("A_TOKEN".to_owned()), ..UpdateSecretRequest::default() };
    bench.runvoy.update_secret(&bench.caller, "b", &change).await.unwrap();
    end(&bench, holder).await;
    let record = bench.record(waiter).await;
    assert_eq!((record.status, record.status_reason), (Status::Failed, Some(Reason::StartFailed)));
    assert_eq!(uses(&record), [pair("a", None), pair("b", None)], "neither was given");
    let detail = record.status_detail.unwrap();
    assert!(detail.contains("`a` and `b` both go into `A_TOKEN`"), "{detail}");
    assert!(!bench.world.ids().contains(&waiter) || bench.world.job(waiter).given.is_empty());
    // Its lock is free.
    let next = RunRequest { lock: Some("prod".to_owned()), secrets: Vec::new(), ..request() };
    assert_eq!(run(&bench, next).await.status, Status::Starting);
}

#[tokio::test]
async fn a_start_that_is_tried_again_gets_the_value_of_then_and_the_record_has_both_versions() {
    let bench = Bench::new().await;
    bench.runvoy.create_secret(&bench.caller, &new(NAME, "TOKEN", "first")).await.unwrap();
    let id = run(&bench, request()).await.id;
    bench.world.never(id);
    bench.runvoy.update_secret(&bench.caller, NAME, &value("second")).await.unwrap();
    bench.clock.advance(Duration::from_secs(61));
    bench.pass().await;
    assert_eq!(given(&bench, id), [pair("TOKEN", "second".to_owned())]);
    assert_eq!(uses(&bench.record(id).await), [pair(NAME, Some(1)), pair(NAME, Some(2))]);
}

#[tokio::test]
async fn the_same_request_again_is_the_same_whatever_became_of_its_secret() {
    let bench = Bench::new().await;
    bench.runvoy.create_secret(&bench.caller, &new(NAME, "TOKEN", "first")).await.unwrap();
    let key = || "once".parse().ok();
    let first = bench.runvoy.run(&bench.caller, request(), key()).await.unwrap();
    bench.runvoy.update_secret(&bench.caller, NAME, &value("second")).await.unwrap();
    let again = bench.runvoy.run(&bench.caller, request(), key()).await.unwrap();
    assert_eq!(again.id, first.id);
    let other = RunRequest { secrets: Vec::new(), ..request() };
    let other = bench.runvoy.run(&bench.caller, other, key()).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyConflict), "{other}");
}

#[tokio::test]
async fn every_use_change_and_reveal_is_recorded_before_it_happens_and_never_a_value() {
    let bench = Bench::new().await;
    let (runvoy, caller) = (&bench.runvoy, &bench.caller);
    runvoy.create_secret(caller, &new(NAME, "TOKEN", "hunter22")).await.unwrap();
    let id = run(&bench, request()).await.id;
    runvoy.reveal_secret(caller, NAME).await.unwrap();
    runvoy.update_secret(caller, NAME, &value("hunter23")).await.unwrap();
    runvoy.secret(caller, NAME).await.unwrap();
    runvoy.secrets(caller).await.unwrap();
    runvoy.delete_secret(caller, NAME).await.unwrap();
    let events = events(bench.audit.as_ref()).await;
    assert!(!format!("{events:?}").contains("hunter2"));
    let of_secret = events.into_iter().filter(|event| event.resource == "secret:deploy");
    let of_secret = of_secret.inspect(|event| assert_eq!(event.policy.as_deref(), Some("runvoy.admin")));
    let told: Vec<_> = of_secret.map(|event| (event.action, event.detail)).collect();
    let by = format!("by execution {id}");
    let expected = [
        ("create_secret", Some("as `TOKEN`")),
        ("use_secret", Some(by.as_str())),
        ("read_secret", Some("its value")),
        ("update_secret", Some("value")),
        ("delete_secret", None),
    ];
    let expected = expected.map(|(action, detail)| (action.to_owned(), detail.map(str::to_owned)));
    assert_eq!(told, expected);
}
