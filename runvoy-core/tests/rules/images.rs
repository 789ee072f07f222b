//! What is different where tasks run in images.

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::id::IdPrefix;
use runvoy_core::port::{Phase, Progress, Refusal, Refused, TaskEvent, TaskState};
use runvoy_core::state::{Reason, Status};
use runvoy_core::{Config, Error, FollowItem, LogStart};

use super::service::Bench;

fn request() -> RunRequest {
    RunRequest::new(Command::Shell("make".to_owned()))
}

#[tokio::test]
async fn a_run_has_the_image_it_names_or_the_default_one() {
    let bench =
        Bench::with(Config { default_image: Some("debian:12".to_owned()), ..Config::default() }).await;
    bench.world.set_images();
    let image = async |name: Option<&str>| {
        let request = RunRequest { image: name.map(str::to_owned), ..request() };
        bench.runvoy.run(&bench.caller, request, None).await.unwrap().image_id.unwrap()
    };
    assert_eq!(image(None).await, "debian:12");
    assert_eq!(image(Some("")).await, "debian:12");
    assert_eq!(image(Some("alpine:3")).await, "alpine:3");
}

#[tokio::test]
async fn what_no_image_could_have_is_refused_by_name() {
    let bench = Bench::new().await;
    bench.world.set_images();
    let with_image = || RunRequest { image: Some("alpine".to_owned()), ..request() };
    let cases = [
        (request(), "image"),
        (RunRequest { image: Some("al pine".to_owned()), ..request() }, "image"),
        (RunRequest { image: Some("a".repeat(513)), ..request() }, "image"),
        (RunRequest { cpu: Some(15), ..with_image() }, "cpu"),
        (RunRequest { memory: Some(5), ..with_image() }, "memory"),
    ];
    for (request, field) in cases {
        let refused = bench.runvoy.run(&bench.caller, request, None).await.unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { field: found, .. } if found == field),
            "{field}: {refused}"
        );
    }
    assert!(bench.world.ids().is_empty());
    bench
        .runvoy
        .run(&bench.caller, RunRequest { cpu: Some(16), memory: Some(6), ..with_image() }, None)
        .await
        .unwrap();
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
    let state = TaskState::Running { started_at, handle: None, image_digest: Some("sha256:01".to_owned()) };
    bench.runvoy.on_task_event(&TaskEvent { id, state }).await.unwrap();
    assert_eq!(told().await, (Status::Running, None), "what has begun is not on its way");
    assert_eq!(bench.record(id).await.image_digest.as_deref(), Some("sha256:01"));
}
