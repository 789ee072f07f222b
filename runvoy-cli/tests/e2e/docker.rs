//! The whole way, with commands in containers of a real engine.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::harness::{Running, Server, runvoy, stderr, stdout, until};

/// Where the engine is, with the images that tests need. `None` where there is none, unless one is required.
pub(crate) fn engine() -> Option<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    if docker(&host, &["image", "inspect", "runvoy-test/busybox"]).status.success() {
        return Some(host);
    }
    let required = std::env::var("RUNVOY_TEST_REQUIRE").is_ok_and(|what| what == "all");
    assert!(!required, "no engine with the images of the tests at {host}; scripts/test provides it");
    eprintln!("left out: no engine with the images of the tests at {host}");
    None
}

/// A server whose commands run in containers. `None` where there is no engine, unless one is required.
pub(crate) fn server() -> Option<Server> {
    engine().map(Server::with_engine)
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

#[test]
fn a_container_that_is_killed_ends_its_readers_and_frees_its_lock() {
    let Some(server) = server() else { return };
    let mut reader =
        Running::spawn(server.client(&["run", "--lock", "prod", "--", "echo begun; exec sleep 600"]));
    reader.expect("begun");
    let listed: Value = serde_json::from_slice(&server.run(&["list", "-o", "json"]).stdout).unwrap();
    let id = listed[0]["execution_id"].as_str().unwrap().to_owned();
    let since = Instant::now();
    let killed = docker(server.engine().unwrap(), &["kill", &format!("runvoy-{id}")]);
    assert!(killed.status.success(), "{}", stderr(&killed));
    let (code, out, err) = reader.finish();
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!((code, out.as_slice()), (Some(125), b"begun\n".as_slice()), "{err}");
    let record = server.record(&id);
    assert_eq!((record["status"].as_str(), record["status_reason"].as_str()), (Some("FAILED"), Some("lost")));
    let log: Value =
        serde_json::from_slice(&server.run(&["logs", &id, "-o", "json"]).stdout).unwrap_or_default();
    assert_ne!(log["complete"], true, "{log}");
    // Nobody holds it any more.
    let next = server.run(&["run", "--lock", "prod", "--", "echo next"]);
    assert_eq!((next.status.code(), stdout(&next).as_str()), (Some(0), "next\n"), "{}", stderr(&next));
}

#[test]
fn containers_under_one_lock_run_one_after_the_other() {
    let Some(server) = server() else { return };
    let run = |command: &str| server.client(&["run", "--lock", "prod", "--wait", "--", command]);
    let mut first = Running::spawn(run("echo begun; sleep 0.5"));
    first.expect("begun");
    let others: Vec<_> = (0..3).map(|_| Running::spawn(run("sleep 0.1"))).collect();
    assert_eq!(first.finish().0, Some(0));
    for other in others {
        let (code, _, err) = other.finish();
        assert_eq!(code, Some(0), "{err}");
    }
    let records = server.run(&["list", "-o", "json"]);
    let records: Vec<Value> = serde_json::from_slice(&records.stdout).unwrap();
    let mut spans: Vec<_> = records
        .iter()
        .map(|record| server.record(record["execution_id"].as_str().unwrap()))
        .map(|record| {
            ["started_at", "completed_at"]
                .map(|field| record[field].as_str().unwrap().parse::<Timestamp>().unwrap())
        })
        .collect();
    spans.sort();
    assert_eq!(spans.len(), 4);
    assert!(spans.windows(2).all(|pair| pair[0][1] <= pair[1][0]), "{spans:?}");
}

#[test]
fn an_image_needs_no_registration_where_nobody_else_runs_anything() {
    let Some(host) = engine() else { return };
    let home = tempfile::tempdir().unwrap();
    let run = |options: &[&str]| {
        let mut command = runvoy(home.path());
        command.args(["local", "run", "--executor", "docker", "--default-image", "runvoy-test/busybox"]);
        command.args(options).env("DOCKER_HOST", &host).output().unwrap()
    };
    let named = run(&["-i", "runvoy-test/configured", "--", "id -un; exit 5"]);
    assert_eq!((named.status.code(), stdout(&named).as_str()), (Some(5), "app\n"), "{}", stderr(&named));
    let plain = run(&["--", "id -u"]);
    assert_eq!((plain.status.code(), stdout(&plain).as_str()), (Some(0), "0\n"), "{}", stderr(&plain));
}
