//! Kill means dead.

use std::time::{Duration, Instant};

use crate::harness::{Server, processes_with, stderr, stdout, until};

/// Double-forks daemons into sessions of their own that ignore TERM, does so itself, and floods its output.
const STUBBORN: &str = r#"trap '' TERM HUP INT
(setsid sh -c "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM HUP INT; while :; do sleep 1; done\" &) ; while :; do sleep 1; done" &)
echo ready
while :; do echo flood flood flood flood flood; done"#;

fn begun(server: &Server, id: &str) {
    until("the command has begun", || stdout(&server.run(&["logs", "--tail", "1", id])).contains("flood"));
}

fn assert_nothing_left(id: &str) {
    let left = processes_with(&format!("RUNVOY_EXECUTION_ID={id}"));
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn a_kill_leaves_nothing_of_the_command() {
    let server = Server::start();
    let id = server.detach(STUBBORN);
    begun(&server, &id);
    let its_own = format!("RUNVOY_EXECUTION_ID={id}");
    until("its daemons are there", || processes_with(&its_own).len() >= 3);
    let asked = Instant::now();
    let killed = server.run(&["kill", &id, "--grace", "1s"]);
    assert_eq!(killed.status.code(), Some(0), "{}", stderr(&killed));
    assert_nothing_left(&id);
    // The promise is grace + 1 s; what is left is for a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let record = server.record(&id);
    assert_eq!((&record["status"], &record["status_reason"]), (&"STOPPED".into(), &"killed".into()));
    assert_eq!(record["stopped_by"], "admin@localhost");
    let again = server.run(&["kill", &id]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

#[test]
fn a_timeout_leaves_nothing_of_the_command() {
    let server = Server::start();
    let output = server.run(&["run", "--timeout", "1", "--grace", "1", "--detach", "--", STUBBORN]);
    let id = stdout(&output).trim().to_owned();
    let record = server.ended(&id);
    assert_eq!((&record["status"], &record["status_reason"]), (&"FAILED".into(), &"timed_out".into()));
    assert!(record["status_detail"].as_str().unwrap().contains("timeout"));
    assert_nothing_left(&id);
}

#[test]
fn a_command_that_kills_its_parent_harms_only_itself() {
    let server = Server::start();
    let id = server.detach("(setsid sleep 600 &); kill -9 $PPID; echo alive; exit 4");
    let record = server.ended(&id);
    assert_nothing_left(&id);
    // As root the agent is out of its reach; elsewhere it is lost, and says so.
    if record["status_reason"] == "exited" {
        assert_eq!(record["exit_code"], 4);
        assert_eq!(stdout(&server.run(&["logs", &id])), "alive\n");
    } else {
        assert_eq!(record["status_reason"], "lost");
    }
}

#[test]
fn an_agent_that_is_killed_is_told_as_lost() {
    let server = Server::start();
    let id = server.detach("(setsid sleep 600 &); echo begun; sleep 600");
    until("it has begun", || stdout(&server.run(&["logs", &id])) == "begun\n");
    for pid in agents_of(&server, &id) {
        crate::harness::signal(pid, "KILL");
    }
    let record = server.ended(&id);
    assert_eq!((&record["status"], &record["status_reason"]), (&"FAILED".into(), &"lost".into()));
    assert_nothing_left(&id);
    let waited = server.run(&["wait", &id]);
    assert_eq!(waited.status.code(), Some(125), "{}", stderr(&waited));
}

/// The agent's processes, found by the directory they were given; the outermost first.
pub(crate) fn agents_of(server: &Server, id: &str) -> Vec<u32> {
    let data = server.data_dir().canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        (line.contains(id) && line.contains(data.to_str()?) && line.contains("supervise")).then_some(pid)
    });
    processes.collect()
}
