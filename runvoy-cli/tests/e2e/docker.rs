//! The whole way, with commands in containers of a real engine.

use std::process::{Command, Output};

use crate::harness::{Server, stderr, stdout, until};

/// A server whose commands run in containers. `None` where there is no engine, unless one is required.
pub(crate) fn server() -> Option<Server> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    if !docker(&host, &["image", "inspect", "runvoy-test/busybox"]).status.success() {
        let required = std::env::var("RUNVOY_TEST_REQUIRE").is_ok_and(|what| what == "all");
        assert!(!required, "no engine with the images of the tests at {host}; scripts/test provides it");
        eprintln!("left out: no engine with the images of the tests at {host}");
        return None;
    }
    Some(Server::with_engine(host))
}

pub(crate) fn docker(host: &str, args: &[&str]) -> Output {
    Command::new("docker").args(args).env("DOCKER_HOST", host).output().unwrap()
}

fn until_it_says(server: &Server, id: &str, text: &str) {
    until("the command to begin", || stdout(&server.run(&["logs", id])).contains(text));
}

#[test]
fn a_command_runs_in_its_image() {
    let Some(server) = server() else { return };
    assert!(server.log().contains("commands run in containers"), "{}", server.log());
    server.register("runvoy-test/configured");
    let run =
        server.run(&["run", "-i", "runvoy-test/configured", "--", "id -un; pwd; echo oops >&2; exit 7"]);
    assert_eq!((run.status.code(), stdout(&run).as_str()), (Some(7), "app\n/srv/app\n"));
    assert!(stderr(&run).starts_with("oops\n"), "{}", stderr(&run));
    let plain = server.run(&["run", "--", "cat /etc/hostname | wc -c; id -u"]);
    assert_eq!((plain.status.code(), stdout(&plain).as_str()), (Some(0), "13\n0\n"));
    let id = server.detach("true");
    let record = server.ended(&id);
    assert!(record["image_id"].as_str().unwrap().starts_with("runvoy-test/busybox:latest-"), "{record}");
    assert!(record["image_digest"].as_str().unwrap().starts_with("sha256:"), "{record}");
}

#[test]
fn an_image_that_cannot_be_had_is_told() {
    let Some(server) = server() else { return };
    server.register("127.0.0.1:1/no/image");
    let run = server.run(&["run", "-i", "127.0.0.1:1/no/image", "--", "true"]);
    assert_eq!(run.status.code(), Some(125), "{}", stderr(&run));
    assert!(stderr(&run).contains("127.0.0.1:1/no/image"), "{}", stderr(&run));
    let id = server.detach("true");
    assert_eq!(server.ended(&id)["status"], "SUCCEEDED", "nothing is the worse for it");
}

#[test]
fn a_memory_limit_is_told_when_it_is_hit() {
    let Some(server) = server() else { return };
    let run = server.run(&["run", "--memory", "24", "--", "echo begun; exec tail /dev/zero"]);
    assert_eq!((run.status.code(), stdout(&run).as_str()), (Some(137), "begun\n"), "{}", stderr(&run));
    assert!(stderr(&run).contains("--memory"), "{}", stderr(&run));
}

#[test]
fn a_container_goes_on_without_its_server() {
    let Some(mut server) = server() else { return };
    let id = server.detach("i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 3");
    until_it_says(&server, &id, "2\n");
    server.crash();
    server.restart();
    let record = server.ended(&id);
    assert_eq!(
        (record["status"].as_str(), record["exit_code"].as_i64()),
        (Some("FAILED"), Some(3)),
        "{record}"
    );
    let lines: String = (0..30).map(|line| format!("{line}\n")).collect();
    assert_eq!(stdout(&server.run(&["logs", &id])), lines);
}

#[test]
fn a_kill_reaches_a_container_of_an_earlier_server() {
    let Some(mut server) = server() else { return };
    let id = server.detach("trap '' TERM; echo begun; while :; do sleep 1; done");
    until_it_says(&server, &id, "begun");
    server.crash();
    server.restart();
    let kill = server.run(&["kill", &id, "--grace", "1s"]);
    assert_eq!(kill.status.code(), Some(0), "{}", stderr(&kill));
    assert_eq!(server.ended(&id)["status_reason"], "killed");
}
