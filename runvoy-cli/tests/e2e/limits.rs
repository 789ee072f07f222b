//! What an admin caps is capped: by the server's options, all the way to the command.

use std::path::PathBuf;

use crate::harness::{Server, stderr, stdout};

/// A command that runs until the file is there.
fn hold(server: &Server) -> (String, PathBuf) {
    let go = server.dir.path().join("go");
    (format!("while [ ! -e {} ]; do sleep 0.01; done", go.display()), go)
}

#[test]
fn beyond_the_cap_of_live_executions_a_run_is_told_to_try_later() {
    let caps = [
        (["--max-live", "1"], "1 executions are live on this server"),
        (["--max-live-per-user", "1"], "1 executions of yours are live"),
    ];
    for (option, why) in caps {
        let server = Server::start_with(&option);
        let (command, go) = hold(&server);
        let first = server.detach(&command);
        let refused = server.run(&["run", "true"]);
        assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
        std::fs::write(&go, "").unwrap();
        assert_eq!(server.ended(&first)["status"], "SUCCEEDED");
        let output = server.run(&["run", "true"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn no_more_wait_for_a_lock_than_may() {
    let server = Server::start_with(&["--queue-depth", "1"]);
    let (command, go) = hold(&server);
    let ask = |command: &str| server.run(&["run", "--detach", "--lock", "prod", "--wait", "--", command]);
    let asked: Vec<_> = [&command, "true"].map(ask).iter().map(stdout).collect();
    let refused = ask("true");
    assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("prod"), "{}", stderr(&refused));
    std::fs::write(&go, "").unwrap();
    for id in asked {
        assert_eq!(server.ended(id.trim())["status"], "SUCCEEDED");
    }
}

#[test]
fn no_command_may_run_longer_than_the_server_lets_any() {
    let server = Server::start_with(&["--max-timeout", "1m"]);
    let refused = server.run(&["run", "--timeout", "61s", "true"]);
    assert_eq!(refused.status.code(), Some(65), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("1 to 60 seconds"), "{}", stderr(&refused));
    let id = server.detach("true");
    assert_eq!(server.ended(&id)["timeout"], 60, "what is not asked for is no longer either");
}

#[test]
fn a_command_that_writes_more_than_is_kept_is_killed() {
    let server = Server::start_with(&["--log-limit", "64K"]);
    let output = server.run(&["run", "yes"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert_eq!(output.stdout, b"y\n".repeat(32 * 1024));
    let list = stdout(&server.run(&["list", "-o", "json"]));
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let record = server.record(list[0]["execution_id"].as_str().unwrap());
    assert_eq!((&record["status"], &record["status_reason"]), (&"FAILED".into(), &"log_limit".into()));
    assert_eq!(record["log_bytes"], 65_536);
    let within = server.run(&["run", "yes | head -c 65536"]);
    assert_eq!(within.status.code(), Some(0), "{}", stderr(&within));
}
