//! Locks from outside: a line that is kept whoever is killed, and what people are told.

use serde_json::Value;

use super::harness::{Server, stderr, stdout, until};

/// What each run under the lock writes down: its number, at its beginning and at its end.
fn noting(file: &str, number: usize) -> String {
    format!(
        "echo begin {number} $RUNVOY_LOCK_TOKEN >> {file}; sleep 0.05; echo end {number} $RUNVOY_LOCK_TOKEN >> {file}"
    )
}

/// The numbers in the order in which they ran; fails if two overlapped or a token went back.
fn order(notes: &str) -> Vec<usize> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = notes.lines().map(words).collect();
    let mut last = 0;
    lines
        .chunks(2)
        .map(|pair| {
            let [begin, end] = pair else { panic!("a run did not end: {notes}") };
            assert_eq!((begin[0].as_str(), end[0].as_str()), ("begin", "end"), "two overlap: {notes}");
            assert_eq!(begin[1..], end[1..], "two overlap: {notes}");
            let token: u64 = begin[2].parse().unwrap();
            assert!(token > last, "a token went back: {notes}");
            last = token;
            begin[1].parse().unwrap()
        })
        .collect()
}

fn queue(server: &Server, command: &str) -> String {
    let output = server.run(&["run", "--detach", "--lock", "infra/prod", "--wait", "--", command]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

fn locks(server: &Server) -> Value {
    let output = server.run(&["locks", "list", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["locks"].clone()
}

#[test]
fn twenty_in_a_line_run_one_after_the_other_in_the_order_of_asking() {
    let server = Server::start();
    let file = server.dir.path().join("notes");
    let ids: Vec<_> = (0..20).map(|n| queue(&server, &noting(file.to_str().unwrap(), n))).collect();
    let ended: Vec<_> = ids.iter().map(|id| server.ended(id)).collect();
    assert!(ended.iter().all(|record| record["status"] == "SUCCEEDED"), "{ended:?}");
    assert_eq!(order(&std::fs::read_to_string(&file).unwrap()), (0..20).collect::<Vec<_>>());
    assert_eq!(locks(&server), Value::Array(vec![]), "no lock is left behind");
}

#[test]
fn a_server_that_is_killed_again_and_again_forgets_nobody_in_line() {
    let mut server = Server::start();
    let file = server.dir.path().join("notes");
    let mut ids = Vec::new();
    let mut crashes = 0;
    for n in 0..24 {
        ids.push(queue(&server, &noting(file.to_str().unwrap(), n)));
        // Runs start and end meanwhile, so that each crash falls into another moment of the line.
        if n % 2 == 1 {
            server.crash();
            server.restart();
            crashes += 1;
        }
    }
    while crashes < 20 {
        server.crash();
        server.restart();
        crashes += 1;
    }
    let ended: Vec<_> = ids.iter().map(|id| server.ended(id)).collect();
    assert!(ended.iter().all(|record| record["status"] == "SUCCEEDED"), "{ended:?}");
    assert_eq!(order(&std::fs::read_to_string(&file).unwrap()), (0..24).collect::<Vec<_>>());
    until("the release of the last lock", || locks(&server) == Value::Array(vec![]));
}

#[test]
fn who_does_not_wait_is_told_who_holds_it() {
    let server = Server::start();
    let holder = queue(&server, "sleep 60");
    let refused = server.run(&["run", "--lock", "infra/prod", "true"]);
    assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(said.contains("admin@localhost since ") && said.contains(&holder), "{said}");

    let waiter = queue(&server, "true");
    let record = server.record(&waiter);
    assert_eq!((&record["status"], &record["position"]), (&"QUEUED".into(), &1.into()));
    assert_eq!(record["holder"]["execution_id"], holder.as_str());
    let shown = server.run(&["locks", "show", "infra/prod"]);
    assert!(stdout(&shown).contains(&waiter[..8]), "{}", stdout(&shown));
    let gone = server.run(&["kill", &waiter]);
    assert_eq!(gone.status.code(), Some(0), "{}", stderr(&gone));

    assert_eq!(server.run(&["locks", "release", "infra/prod"]).status.code(), Some(2), "without --force");
    let released = server.run(&["locks", "release", "infra/prod", "--force"]);
    assert_eq!(released.status.code(), Some(0), "{}", stderr(&released));
    assert_eq!(server.ended(&holder)["status"], "STOPPED");
    let again =
        server.run(&["run", "--lock", "infra/prod", "--", "echo $RUNVOY_LOCK_NAME $RUNVOY_LOCK_TOKEN"]);
    assert_eq!(stdout(&again), "infra/prod 2\n", "{}", stderr(&again));
    until("the release of the lock", || locks(&server) == Value::Array(vec![]));
    let nobody = server.run(&["locks", "release", "infra/prod", "--force"]);
    assert_eq!(nobody.status.code(), Some(66), "{}", stderr(&nobody));
}
