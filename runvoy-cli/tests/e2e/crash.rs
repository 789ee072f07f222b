//! kill -9 of the server harms nothing that was accepted.

use std::time::Duration;

use crate::harness::{Running, Server, stderr, stdout, until};

/// Rounds in which the server is killed at another moment.
const ROUNDS: u64 = 24;

#[test]
fn a_command_goes_on_and_no_line_is_lost_or_doubled() {
    let mut server = Server::start();
    let command = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; echo err $i >&2; [ $((i % 20)) = 0 ] && sleep 0.02; done; exit 7";
    let lines = |name: &str| (1..=400).map(|n| format!("{name} {n}\n")).collect::<String>();
    for round in 0..ROUNDS {
        let key = format!("round-{round}");
        let running = Running::spawn(server.client(&["run", "--idempotency-key", &key, command]));
        // Not to wait for anything: the moment is to be another one each time.
        std::thread::sleep(Duration::from_millis(round * 29 % 600 + jitter()));
        server.crash();
        std::thread::sleep(Duration::from_millis(jitter() * 5));
        server.restart();
        let (mut code, mut out, mut err) = running.finish();
        if code == Some(69) && out.is_empty() {
            // It found no server at all. Asked again under the same key, the command still runs once.
            (code, out, err) =
                Running::spawn(server.client(&["run", "--idempotency-key", &key, command])).finish();
        }
        assert_eq!(String::from_utf8(out).unwrap(), lines("line"), "round {round}: {err}");
        assert_eq!(code, Some(7), "round {round}: {err}");
        let errors: String = err.split_inclusive('\n').filter(|line| line.starts_with("err ")).collect();
        assert_eq!(errors, lines("err"), "round {round}");
    }
    // Every record is right, every log whole, and each command ran once.
    let list: serde_json::Value =
        serde_json::from_slice(&server.run(&["list", "--all", "-o", "json"]).stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len() as u64, ROUNDS);
    for execution in list {
        let id = execution["execution_id"].as_str().unwrap();
        let record = server.record(id);
        assert_eq!((&record["status"], &record["exit_code"]), (&"FAILED".into(), &7.into()), "{record}");
        assert_eq!(record["log_events"], 800, "{record}");
        assert_eq!(stdout(&server.run(&["logs", id])), lines("line"));
    }
}

/// A few milliseconds that differ from run to run.
fn jitter() -> u64 {
    u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) % 40
}

#[test]
fn what_ended_while_the_server_was_down_is_settled_when_it_starts() {
    let mut server = Server::start();
    let go = server.dir.path().join("go");
    let done = server.dir.path().join("done");
    let command = format!(
        "echo before; while [ ! -e {} ]; do sleep 0.01; done; echo after; touch {}; exit 5",
        go.display(),
        done.display()
    );
    let id = server.detach(&command);
    until("it has begun", || stdout(&server.run(&["logs", &id])) == "before\n");
    server.crash();
    std::fs::write(&go, "").unwrap();
    until("the command has ended", || done.exists());
    server.restart();
    let record = server.ended(&id);
    assert_eq!((&record["status"], &record["exit_code"]), (&"FAILED".into(), &5.into()));
    assert_eq!(stdout(&server.run(&["logs", &id])), "before\nafter\n");
}

#[test]
fn a_kill_reaches_a_command_of_an_earlier_server() {
    let mut server = Server::start();
    let id = server.detach("echo here; sleep 600");
    until("it has begun", || stdout(&server.run(&["logs", &id])) == "here\n");
    server.crash();
    server.restart();
    let killed = server.run(&["kill", &id, "--grace", "2s"]);
    assert_eq!(killed.status.code(), Some(0), "{}", stderr(&killed));
    assert_eq!(server.record(&id)["status"], "STOPPED");
}

#[test]
fn a_follower_resumes_and_says_so_once() {
    let mut server = Server::start();
    let go = server.dir.path().join("go");
    let id =
        server.detach(&format!("echo one; while [ ! -e {} ]; do sleep 0.01; done; echo two", go.display()));
    let mut running = Running::spawn(server.client(&["logs", "-f", &id]));
    running.expect("one");
    server.crash();
    server.restart();
    std::fs::write(&go, "").unwrap();
    running.expect("two");
    let (code, out, err) = running.finish();
    assert_eq!((code, out.as_slice()), (Some(0), b"one\ntwo\n".as_slice()), "{err}");
    assert_eq!(err.matches("connection").count(), 1, "{err}");
}
