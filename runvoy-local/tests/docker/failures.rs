//! Failures in words: what a real engine answers, and what a user is told.

use runvoy_core::port::{Refused, StartTask, TaskState};
use runvoy_task::EndReason;

use crate::support::{BUSYBOX, Containers, args, shell, within};

/// What is refused: the task, what stands in its way, and words of the sentence.
fn refusals() -> Vec<(StartTask, Refused, &'static [&'static str])> {
    let with = |change: fn(&mut StartTask)| {
        let mut start = shell("true");
        change(&mut start);
        start
    };
    vec![
        (
            within("127.0.0.1:1/none/such", "true"),
            Refused::Image,
            &["127.0.0.1:1/none/such", "cannot be reached"],
        ),
        (within("Not A Name", "true"), Refused::Image, &["no image's name", "NAME:TAG"]),
        (within(&format!("{BUSYBOX}:none"), "true"), Refused::Image, &["runvoy-test/busybox:none"]),
        (
            with(|start| start.request.container.platform = Some("linux/riscv64".to_owned())),
            Refused::Image,
            &["runvoy-test/busybox", "the engine has it for linux/", " only"],
        ),
        (with(|start| start.request.container.cpu = Some(1_000_000)), Refused::Start, &["less", "--cpu"]),
        (with(|start| start.request.container.memory = Some(1)), Refused::Start, &["more", "--memory"]),
        (
            with(|start| start.request.container.network = Some("no-such-network".to_owned())),
            Refused::Start,
            &["no-such-network", "docker network ls"],
        ),
        (with(|start| start.request.container.image = None), Refused::Image, &["--image"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_refuses_is_told_in_words() {
    let containers = Containers::new().await;
    let all = refusals();
    for (start, ..) in &all {
        runvoy_core::port::Executor::start(&*containers.executor, start).await.unwrap();
    }
    for (start, of, words) in all {
        let TaskState::Refused(refusal) = containers.over(start.id).await else { panic!("not refused") };
        assert_eq!(refusal.of, of, "{refusal}");
        for word in words {
            assert!(refusal.message.contains(word), "{word}: {refusal}");
        }
    }
    containers.must_be_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_lacks_is_told_in_words() {
    let containers = Containers::new().await;
    for (start, code, reason, words) in [
        (within("runvoy-test/static", "true"), None, EndReason::StartFailed, "--no-shell"),
        (within("runvoy-test/foreign", "true"), None, EndReason::StartFailed, "architecture"),
        (within("runvoy-test/no-user", "true"), None, EndReason::StartFailed, "`somebody`"),
        (args(BUSYBOX, &["no-such-program"]), Some(127), EndReason::Exited, "no-such-program: not found"),
        (args(BUSYBOX, &["/etc/passwd"]), Some(126), EndReason::Exited, "not executable"),
    ] {
        let ran = containers.run(&start).await;
        assert_eq!((ran.exit.exit_code, ran.exit.reason), (code, reason));
        let said = ran.exit.message.unwrap_or_else(|| String::from_utf8(ran.stderr).unwrap());
        assert!(said.contains(words), "{words}: {said}");
    }
}
