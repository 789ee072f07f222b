//! What is different where tasks run in images.

use std::time::Duration;

use runvoy_core::api::{Command, MannerRequest, RegisterImageRequest, RunRequest};
use runvoy_core::execution::Container;
use runvoy_core::id::IdPrefix;
use runvoy_core::port::{ExecutionStore as _, Phase, Progress, Refusal, Refused, TaskEvent, TaskState};
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Error, FollowItem, LogStart};

use super::locks::locked;
use super::service::Bench;

fn request() -> RunRequest {
    RunRequest::new(Command::Shell("make".to_owned()))
}

fn of(image: &str) -> RunRequest {
    RunRequest { image: Some(image.to_owned()), ..request() }
}

/// A service whose tasks run in images, and that image registered.
async fn bench_with(registrations: &[RegisterImageRequest]) -> Bench {
    let bench = Bench::new().await;
    bench.world.set_images();
    for registration in registrations {
        bench.runvoy.register_image(&bench.caller, registration).await.unwrap();
    }
    bench
}

fn register(image: &str) -> RegisterImageRequest {
    RegisterImageRequest { image: image.to_owned(), ..RegisterImageRequest::default() }
}

async fn refused(bench: &Bench, request: RunRequest) -> (&'static str, String) {
    match bench.runvoy.run(&bench.caller, request, None).await.unwrap_err() {
        Error::Invalid { field, message } => (field, message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_run_has_the_image_it_names_or_the_default_one() {
    let bench = bench_with(&[register("debian:12"), register("ghcr.io/org/alpine:3")]).await;
    let image = async |request: RunRequest| {
        let record = bench.runvoy.run(&bench.caller, request, None).await.unwrap();
        let started = bench.executions.request(record.id).await.unwrap().unwrap();
        (record.image_id.unwrap(), started.container.image.unwrap())
    };
    for request in [request(), of(""), of("debian:12")] {
        let (id, image) = image(request).await;
        assert!(id.starts_with("debian:12-"), "{id}");
        assert_eq!(image, "debian:12");
    }
    for name in ["org/alpine:3", "ghcr.io/org/alpine:3", "quay.io/org/alpine:3"] {
        assert_eq!(image(of(name)).await.1, "ghcr.io/org/alpine:3", "{name}");
    }
}

#[tokio::test]
async fn what_is_not_registered_runs_nowhere() {
    let bench = bench_with(&[]).await;
    let (field, message) = refused(&bench, request()).await;
    assert!(field == "image" && message.contains("--set-default"), "{message}");
    let (field, message) = refused(&bench, of("alpine")).await;
    assert!(field == "image" && message.contains("`alpine` is not registered"), "{message}");
    assert!(bench.world.ids().is_empty());
    // Where commands are processes an image has no meaning.
    let plain = Bench::new().await;
    assert_eq!(plain.runvoy.run(&plain.caller, of("alpine"), None).await.unwrap().image_id, None);
}

#[tokio::test]
async fn what_is_registered_of_an_image_counts_unless_the_run_says_otherwise() {
    let manner = MannerRequest {
        user: Some("app".to_owned()),
        stop_signal: Some("QUIT".to_owned()),
        networks: Some(vec!["build".to_owned(), "none".to_owned()]),
        read_only: Some(true),
    };
    let platform = Some("Linux/ARM64".to_owned());
    let bench = bench_with(&[
        RegisterImageRequest { runtime_platform: platform, manner, ..register("tool:1") },
        RegisterImageRequest { cpu: Some(0), memory: Some(0), ..register("free:1") },
    ])
    .await;
    let started = async |request: RunRequest| {
        let id = bench.runvoy.run(&bench.caller, request, None).await.unwrap().id;
        bench.executions.request(id).await.unwrap().unwrap()
    };
    let plain = started(request()).await;
    let expected = Container {
        image: Some("tool:1".to_owned()),
        cpu: Some(256),
        memory: Some(512),
        platform: Some("linux/arm64".to_owned()),
        user: Some("app".to_owned()),
        stop_signal: Some("QUIT".parse().unwrap()),
        network: Some("build".to_owned()),
        read_only: true,
    };
    assert_eq!((plain.container, plain.stop_signal), (expected, None));
    let own = RunRequest {
        cpu: Some(1024),
        memory: Some(64),
        stop_signal: Some("INT".to_owned()),
        network: Some("none".to_owned()),
        ..request()
    };
    let own = started(own).await;
    assert_eq!((own.container.cpu, own.container.memory), (Some(1024), Some(64)));
    assert_eq!((own.container.network.as_deref(), own.stop_signal.unwrap().as_str()), (Some("none"), "INT"));
    let free = started(of("free:1")).await;
    assert_eq!((free.container.cpu, free.container.memory, free.container.network), (None, None, None));
    let (field, message) =
        refused(&bench, RunRequest { network: Some("host".to_owned()), ..request() }).await;
    assert!(field == "network" && message.contains("build, none"), "{message}");
    let (field, _) = refused(&bench, RunRequest { network: Some("host".to_owned()), ..of("free:1") }).await;
    assert_eq!(field, "network");
}

#[tokio::test]
async fn what_no_image_could_have_is_refused_by_name() {
    let bench = bench_with(&[register("alpine")]).await;
    for (request, field) in [
        (RunRequest { cpu: Some(15), ..request() }, "cpu"),
        (RunRequest { memory: Some(5), ..request() }, "memory"),
    ] {
        assert_eq!(refused(&bench, request).await.0, field);
    }
    let with = |change: fn(&mut RegisterImageRequest)| {
        let mut request = register("a:1");
        change(&mut request);
        request
    };
    for (request, field) in [
        (register("Not A Name"), "image"),
        (register(""), "image"),
        (with(|r| r.cpu = Some(15)), "cpu"),
        (with(|r| r.memory = Some(5)), "memory"),
        (with(|r| r.runtime_platform = Some("arm".to_owned())), "runtime_platform"),
        (with(|r| r.task_role_name = Some("a b".to_owned())), "task_role_name"),
        (with(|r| r.manner.user = Some("a b".to_owned())), "user"),
        (with(|r| r.manner.stop_signal = Some("NONE".to_owned())), "stop_signal"),
        (with(|r| r.manner.networks = Some(vec![String::new()])), "networks"),
        (with(|r| r.manner.networks = Some(vec!["n".to_owned(); 21])), "networks"),
    ] {
        let refused = bench.runvoy.register_image(&bench.caller, &request).await.unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { field: found, .. } if found == field),
            "{field}: {refused}"
        );
    }
    assert_eq!(bench.runvoy.images(&bench.caller).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_request_stays_the_same_when_the_default_changes() {
    let bench = bench_with(&[register("a:1")]).await;
    let key = || "once".parse().ok();
    let first = bench.runvoy.run(&bench.caller, request(), key()).await.unwrap();
    let next = RegisterImageRequest { is_default: Some(true), ..register("b:1") };
    bench.runvoy.register_image(&bench.caller, &next).await.unwrap();
    let again = bench.runvoy.run(&bench.caller, request(), key()).await.unwrap();
    assert_eq!((again.id, again.image_id), (first.id, first.image_id));
}

#[tokio::test]
async fn an_empty_registry_is_filled_once() {
    let bench = bench_with(&[]).await;
    let owner = bench.caller.user().clone();
    assert!(bench.runvoy.bootstrap_image("debian:12", &owner).await.unwrap());
    assert!(!bench.runvoy.bootstrap_image("alpine:3", &owner).await.unwrap());
    let images = bench.runvoy.images(&bench.caller).await.unwrap();
    assert_eq!(images.len(), 1);
    assert!(images[0].is_default && images[0].image == "debian:12");
}

#[tokio::test]
async fn what_stands_in_the_way_for_good_ends_the_start() {
    for (of, reason) in [(Refused::Image, Reason::ImageUnavailable), (Refused::Start, Reason::StartFailed)] {
        let bench = Bench::new().await;
        let id = bench.run().await.id;
        let refusal = Refusal { of, message: "there is no such thing; name another".to_owned() };
        let event = TaskEvent { id, state: TaskState::Refused(Box::new(refusal.clone())) };
        // Twice: news may be repeated.
        bench.runvoy.on_task_event(&event).await.unwrap();
        bench.runvoy.on_task_event(&event).await.unwrap();
        let record = bench.record(id).await;
        assert_eq!((record.status, record.status_reason), (Status::Failed, Some(reason)));
        assert_eq!(record.status_detail, Some(refusal.message));
        bench.world.claim(id);
        assert_eq!(bench.world.job(id).runs, 0, "its gate is closed");
    }
}

#[tokio::test]
async fn a_claim_goes_before_a_refusal() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.claim(id);
    let refusal = Refusal { of: Refused::Start, message: "too late".to_owned() };
    let event = TaskEvent { id, state: TaskState::Refused(Box::new(refusal)) };
    bench.runvoy.on_task_event(&event).await.unwrap();
    assert_eq!(bench.record(id).await.status, Status::Running);
}

#[tokio::test]
async fn progress_is_told_to_who_follows_and_the_digest_is_kept() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    let mut follow =
        bench.runvoy.follow(&bench.caller, &IdPrefix::from(id), LogStart::Beginning).await.unwrap();
    let mut told = async || match follow.next().await.unwrap() {
        Some(FollowItem::Status { execution, progress, .. }) => (execution.status, progress),
        other => panic!("{other:?}"),
    };
    assert_eq!(told().await, (Status::Starting, None));
    for detail in [None, Some("1 of 2 layers".to_owned())] {
        let progress = Progress { phase: Phase::Pulling, detail };
        bench.world.set_progress(Some(progress.clone()));
        bench.runvoy.on_task_event(&TaskEvent { id, state: TaskState::Pending }).await.unwrap();
        assert_eq!(told().await, (Status::Starting, Some(progress)));
    }
    bench.world.claim(id);
    let started_at = bench.record(id).await.created_at;
    let state = TaskState::Running {
        started_at,
        handle: None,
        image_digest: Some("sha256:01".to_owned()),
        is_preparing: false,
    };
    bench.runvoy.on_task_event(&TaskEvent { id, state }).await.unwrap();
    assert_eq!(told().await, (Status::Running, None), "what has begun is not on its way");
    assert_eq!(bench.record(id).await.image_digest.as_deref(), Some("sha256:01"));
}

#[tokio::test]
async fn a_refused_start_holds_its_lock_no_longer() {
    let bench = Bench::new().await;
    let first = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    let second = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    assert_eq!((first.status, second.status), (Status::Starting, Status::Queued));
    let refusal = Refusal { of: Refused::Image, message: "there is no such image".to_owned() };
    let event = TaskEvent { id: first.id, state: TaskState::Refused(Box::new(refusal)) };
    bench.runvoy.on_task_event(&event).await.unwrap();
    assert_eq!(bench.record(first.id).await.status, Status::Failed);
    assert_eq!(bench.record(second.id).await.status, Status::Starting);
}

#[tokio::test]
async fn what_was_accepted_before_there_were_images_runs_in_the_default_one() {
    let bench = Bench::new().await;
    let first = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    let second = bench.runvoy.run(&bench.caller, locked("queue"), None).await.unwrap();
    bench.world.never(first.id);
    bench.world.set_images();
    bench.runvoy.register_image(&bench.caller, &register("debian:12")).await.unwrap();
    // One that was half started, and then the one that waited for it.
    bench.clock.advance(Duration::from_secs(61));
    bench.pass().await;
    let image = |id| bench.world.job(id).container.and_then(|container| container.image);
    assert_eq!(image(first.id).as_deref(), Some("debian:12"));
    bench.world.claim(first.id);
    bench.world.exit(first.id, 0);
    bench.pass().await;
    assert_eq!(bench.record(second.id).await.status, Status::Starting);
    assert_eq!(image(second.id).as_deref(), Some("debian:12"));
}

#[tokio::test]
async fn what_was_accepted_before_there_were_images_needs_a_default_one() {
    let bench = Bench::new().await;
    let id = bench.run().await.id;
    bench.world.never(id);
    bench.world.set_images();
    bench.clock.advance(Duration::from_secs(61));
    bench.pass().await;
    let record = bench.record(id).await;
    assert_eq!(record.status_reason, Some(Reason::ImageUnavailable));
    assert!(record.status_detail.unwrap().contains("--set-default"));
}

#[tokio::test]
async fn a_network_that_nobody_gives_is_refused_by_name() {
    let plain = Bench::new().await;
    let (field, _) = refused(&plain, RunRequest { network: Some("none".to_owned()), ..request() }).await;
    assert_eq!(field, "network");
    assert!(plain.world.ids().is_empty());
}
