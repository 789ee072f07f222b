//! Who waits for a lock, and what is asked again when their turn comes.

use std::time::Duration;

use runvoy_core::api::{ChangeImageRequest, Command, MannerRequest, RegisterImageRequest, RunRequest};
use runvoy_core::clock::Clock as _;
use runvoy_core::execution::{Container, Execution};
use runvoy_core::id::{IdPrefix, RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{KeyStore as _, LockManager as _, TaskEvent, User};
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Error, RequestContext};

use super::service::Bench;

pub(crate) fn locked(when_held: &str) -> RunRequest {
    let mut request = RunRequest::new(Command::Shell("make".to_owned()));
    request.lock = Some("prod".to_owned());
    request.on_lock_held = Some(when_held.to_owned());
    request.max_wait = Some(600);
    request
}

#[tokio::test]
async fn the_next_in_line_starts_when_the_holder_has_ended() {
    let bench = Bench::new().await;
    let ask = async |when_held| bench.runvoy.run(&bench.caller, locked(when_held), None).await;
    let first = ask("fail").await.unwrap();
    let second = ask("queue").await.unwrap();
    let third = ask("queue").await.unwrap();
    assert_eq!(
        (first.status, second.status, third.status),
        (Status::Starting, Status::Queued, Status::Queued)
    );
    assert!(matches!(ask("fail").await, Err(Error::LockHeld { .. })));
    let place = bench.runvoy.waiting(&third).await.unwrap().unwrap();
    assert_eq!((place.position, place.holder.unwrap().execution), (2, first.id));

    for (ended, next, token) in [(first.id, second.id, 2), (second.id, third.id, 3)] {
        bench.world.claim(ended);
        bench.world.exit(ended, 1);
        let event = TaskEvent { id: ended, state: bench.world.state(ended) };
        bench.runvoy.on_task_event(&event).await.unwrap();
        let next = bench.record(next).await;
        assert_eq!((next.status, next.lock.unwrap().token), (Status::Starting, Some(token)));
    }
}

#[tokio::test]
async fn who_may_no_longer_run_passes_the_lock_on() {
    let bench = Bench::new().await;
    let dev = ApiKey::generate();
    let user =
        User::new("dev@acme.test".parse().unwrap(), Role::Developer, bench.clock.now(), RequestId::random());
    bench.keys.insert(user.clone(), dev.hash()).await.unwrap();
    let theirs = bench.runvoy.authenticate(Some(dev.reveal()), RequestContext::internal()).await.unwrap();
    let holder = bench.runvoy.run(&bench.caller, locked("fail"), None).await.unwrap();
    let revoked = bench.runvoy.run(&theirs, locked("queue"), None).await.unwrap();
    let last = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    bench.keys.revoke(&user.email, RequestId::random()).await.unwrap();

    bench.runvoy.kill(&bench.caller, &IdPrefix::from(holder.id), None).await.unwrap();
    let revoked = bench.record(revoked.id).await;
    assert_eq!((revoked.status, revoked.status_reason), (Status::Failed, Some(Reason::Denied)));
    assert_eq!(bench.world.job(revoked.id).pending, 0, "it never got a task");
    assert_eq!(bench.record(last.id).await.status, Status::Starting);
}

#[tokio::test]
async fn nobody_waits_longer_than_they_said() {
    let bench = Bench::new().await;
    let holder = bench.runvoy.run(&bench.caller, locked("fail"), None).await.unwrap();
    bench.world.claim(holder.id);
    let waiter = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    bench.clock.advance(Duration::from_secs(599));
    bench.pass().await;
    assert_eq!(bench.record(waiter.id).await.status, Status::Queued);
    bench.clock.advance(Duration::from_secs(2));
    bench.pass().await;
    let waiter = bench.record(waiter.id).await;
    assert_eq!((waiter.status, waiter.status_reason), (Status::Failed, Some(Reason::QueueTimeout)));
    assert!(waiter.status_detail.unwrap().contains("600 s"));
    let full = bench.locks.show(&"prod".parse().unwrap()).await.unwrap();
    assert!(full.waiters.is_empty());
}

#[tokio::test]
async fn whoever_waited_long_has_as_long_to_start_as_anybody() {
    let bench = Bench::new().await;
    let holder = bench.runvoy.run(&bench.caller, locked("fail"), None).await.unwrap();
    bench.world.claim(holder.id);
    let patient = RunRequest { max_wait: Some(3600), ..locked("queue") };
    let waiter = bench.runvoy.run(&bench.caller, patient, None).await.unwrap().id;
    bench.pass().await;
    bench.clock.advance(Duration::from_mins(40));
    bench.world.exit(holder.id, 0);
    bench.pass().await;
    assert_eq!(bench.record(waiter).await.status, Status::Starting);
    bench.pass().await;
    bench.world.claim(waiter);
    assert_eq!(bench.world.job(waiter).runs, 1, "its gate is open");
    bench.pass().await;
    assert_eq!(bench.record(waiter).await.status, Status::Running);
}

#[tokio::test]
async fn a_line_has_a_length() {
    let bench = Bench::new().await;
    let ask = async |when_held| bench.runvoy.run(&bench.caller, locked(when_held), None).await;
    ask("fail").await.unwrap();
    for _ in 0..runvoy_core::limits::QUEUE_DEPTH {
        ask("queue").await.unwrap();
    }
    assert!(matches!(ask("queue").await, Err(Error::QueueFull { depth: 100, .. })));
}

/// A service with two images, whose lock is held by somebody in one that stays.
struct Line {
    bench: Bench,
    holder: Execution,
    /// The id of the image that may go.
    tool: String,
}

impl Line {
    async fn new(networks: &[&str]) -> Self {
        let bench = Bench::new().await;
        bench.world.set_images();
        let register = async |image: &str, networks: &[&str]| {
            let networks = Some(networks.iter().copied().map(str::to_owned).collect());
            let manner = MannerRequest { networks, ..MannerRequest::default() };
            let request =
                RegisterImageRequest { image: image.to_owned(), manner, ..RegisterImageRequest::default() };
            bench.runvoy.register_image(&bench.caller, &request).await.unwrap().id.to_string()
        };
        register("plain:1", &[]).await;
        let tool = register("tool:1", networks).await;
        let holder = bench.runvoy.run(&bench.caller, locked("fail"), None).await.unwrap();
        Self { bench, holder, tool }
    }

    async fn wait(&self, image: &str, network: Option<&str>) -> Execution {
        let request = RunRequest {
            image: Some(image.to_owned()),
            network: network.map(str::to_owned),
            ..locked("queue")
        };
        self.bench.runvoy.run(&self.bench.caller, request, None).await.unwrap()
    }

    async fn change(&self, manner: MannerRequest) {
        let change = ChangeImageRequest { manner, ..ChangeImageRequest::default() };
        self.bench.runvoy.change_image(&self.bench.caller, &self.tool, &change).await.unwrap();
    }

    /// The holder goes; what became of somebody who waited.
    async fn after(&self, waiter: &Execution) -> Execution {
        self.bench.runvoy.kill(&self.bench.caller, &IdPrefix::from(self.holder.id), None).await.unwrap();
        self.bench.record(waiter.id).await
    }

    fn container(&self, execution: &Execution) -> Container {
        self.bench.world.job(execution.id).container.unwrap()
    }
}

fn is_denied(record: &Execution, word: &str) -> bool {
    let detail = record.status_detail.as_deref().unwrap_or_default();
    record.status_reason == Some(Reason::Denied) && detail.contains(word)
}

#[tokio::test]
async fn whoever_waited_for_an_image_that_is_gone_passes_the_lock_on() {
    let line = Line::new(&[]).await;
    let waiter = line.wait("tool:1", None).await;
    let last = line.wait("plain:1", None).await;
    line.bench.runvoy.remove_image(&line.bench.caller, &line.tool).await.unwrap();
    let waiter = line.after(&waiter).await;
    assert!(is_denied(&waiter, "runvoy images register tool:1"), "{waiter:?}");
    assert_eq!(line.bench.world.job(waiter.id).pending, 0, "it never got a task");
    assert_eq!(line.bench.record(last.id).await.status, Status::Starting);
}

#[tokio::test]
async fn whoever_waited_for_a_network_that_is_forbidden_now_passes_the_lock_on() {
    let line = Line::new(&["build", "none"]).await;
    let waiter = line.wait("tool:1", Some("build")).await;
    let last = line.wait("tool:1", Some("none")).await;
    line.change(MannerRequest { networks: Some(vec!["none".to_owned()]), ..MannerRequest::default() }).await;
    let waiter = line.after(&waiter).await;
    assert!(is_denied(&waiter, "`build`"), "{waiter:?}");
    assert_eq!(line.bench.world.job(waiter.id).pending, 0, "it never got a task");
    assert_eq!(line.bench.record(last.id).await.status, Status::Starting);
    assert_eq!(line.container(&last).network.as_deref(), Some("none"));
}

#[tokio::test]
async fn whoever_waited_runs_in_its_image_as_that_is_registered_then() {
    let line = Line::new(&["build"]).await;
    let waiter = line.wait("tool:1", None).await;
    line.change(MannerRequest {
        user: Some("app".to_owned()),
        stop_signal: Some("QUIT".to_owned()),
        networks: Some(vec!["none".to_owned()]),
        read_only: Some(true),
    })
    .await;
    assert_eq!(line.after(&waiter).await.status, Status::Starting);
    let container = line.container(&waiter);
    assert_eq!((container.user.as_deref(), container.network.as_deref()), (Some("app"), Some("none")));
    assert_eq!(container.stop_signal.unwrap().as_str(), "QUIT");
    assert!(container.read_only);
}

#[tokio::test]
async fn a_start_that_is_tried_again_keeps_to_its_image_too() {
    let line = Line::new(&[]).await;
    let waiter = line.wait("tool:1", None).await;
    assert_eq!(line.after(&waiter).await.status, Status::Starting);
    line.bench.world.never(waiter.id);
    line.bench.runvoy.remove_image(&line.bench.caller, &line.tool).await.unwrap();
    line.bench.clock.advance(Duration::from_secs(61));
    line.bench.pass().await;
    let waiter = line.bench.record(waiter.id).await;
    assert_eq!(waiter.status_reason, Some(Reason::ImageUnavailable));
    assert!(waiter.status_detail.unwrap().contains("tool:1"));
}
