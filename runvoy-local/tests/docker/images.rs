//! Images of all kinds: whose settings count, and what they may lack.

use std::time::Duration;

use runvoy_core::port::Executor;
use runvoy_core::testing::executor::exit;
use runvoy_task::EndReason;

use crate::support::{BUSYBOX, Containers, args, docker, docker_text, shell, within};

const CONFIGURED: &str = "runvoy-test/configured";

#[tokio::test(flavor = "multi_thread")]
async fn user_variables_directory_and_digest_are_the_images_own() {
    let containers = Containers::new().await;
    let mut start =
        within(CONFIGURED, "id -un; id -G; pwd; echo $HOME,$GREETING,$CI,$RUNVOY_USER; touch here && ls");
    start.reserved_env.insert("RUNVOY_USER".to_owned(), "tester@example.com".to_owned());
    let ran = containers.run(&start).await;
    assert_eq!(
        ran.out(),
        "app\n1001 2000\n/srv/app\n/srv/app,hello world,true,tester@example.com\nhere\n",
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let id = docker_text(&["image", "inspect", "--format", "{{.Id}}", CONFIGURED]);
    assert_eq!(ran.exit.image_digest, Some(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_images_volumes_go_with_the_container() {
    let containers = Containers::new().await;
    let start = within(CONFIGURED, "echo ready; exec sleep 600");
    containers.begin(&start).await;
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    let volume = docker_text(&["inspect", "--format", format, &format!("runvoy-{}", start.id)]);
    docker_text(&["volume", "inspect", &volume]);
    containers.executor.stop(start.id, Some(Duration::ZERO)).await.unwrap();
    containers.must_be_empty();
    assert!(!docker(&["volume", "inspect", &volume]).status.success(), "{volume} is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_stop_signal_counts_unless_the_run_names_one() {
    let containers = Containers::new().await;
    for (own, code) in [(None, 5), (Some("TERM"), 6)] {
        let mut start = within(
            CONFIGURED,
            "trap 'exit 5' QUIT; trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done",
        );
        start.request.stop_signal = own.map(|name| name.parse().unwrap());
        containers.begin(&start).await;
        containers.executor.stop(start.id, None).await.unwrap();
        let exit = exit(&*containers.executor, start.id).await;
        assert_eq!((exit.exit_code, exit.reason), (Some(code), EndReason::Stopped));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_name_another_user() {
    let containers = Containers::new().await;
    for (user, said) in [("4321:99", "4321 99 99"), ("app:team", "1000 2000 2000"), ("0", "0 0 0")] {
        let mut start = within(CONFIGURED, "echo $(id -u) $(id -g) $(id -G)");
        start.request.container.user = Some(user.to_owned());
        assert_eq!(containers.run(&start).await.out().trim(), said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_shell_nor_library_is_needed() {
    let containers = Containers::new().await;
    let ran = containers.run(&args("runvoy-test/static", &["/busybox", "echo", "a b", "", "$HOME"])).await;
    assert_eq!(ran.out(), "a b  $HOME\n");
    assert_eq!(containers.run(&args("runvoy-test/musl", &["/hello"])).await.out(), "musl\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_file_system_may_be_read_only() {
    let containers = Containers::new().await;
    let mut start = shell("echo x > /file || echo refused");
    start.request.container.read_only = true;
    assert_eq!(containers.run(&start).await.out(), "refused\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_may_be_named() {
    let containers = Containers::new().await;
    let mut start = shell("ls /sys/class/net");
    start.request.container.network = Some("none".to_owned());
    assert_eq!(containers.run(&start).await.out(), "lo\n");
    let plain = containers.run(&within(BUSYBOX, "ls /sys/class/net")).await;
    assert!(plain.out().contains("eth0"), "{}", plain.out());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_runs_out_of_memory_dies_alone() {
    let containers = Containers::new().await;
    for command in [
        "echo ready; exec tail /dev/zero",
        "echo ready; tail /dev/zero; exit 9",
        // Nothing failed for it: its own business.
        "echo ready; tail /dev/zero; exit 0",
    ] {
        let mut start = shell(command);
        start.request.container.memory = Some(24);
        let ran = containers.run(&start).await;
        let expected = match command.rsplit(' ').next() {
            Some("9") => (Some(9), EndReason::OomKilled),
            Some("0") => (Some(0), EndReason::Exited),
            _ => (Some(137), EndReason::OomKilled),
        };
        assert_eq!((ran.exit.exit_code, ran.exit.reason), expected, "{command}");
        assert_eq!(ran.out(), "ready\n");
    }
}
