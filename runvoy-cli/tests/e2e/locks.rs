//! Locks from outside: a line that is kept whoever is killed, and what people are told.

mod killed;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use serde_json::Value;

use super::harness::{KEY, Running, Server, stderr, stdout, until};
use super::http::{send, with};

const LOCK: &str = "infra/prod";
const WAITS: &str = r#"{"command":"true","lock":"infra/prod","on_lock_held":"queue"}"#;

/// How a note begins; nothing is noted where the clock's reader is killed.
const NOW: &str = "now=$(date +%s%N) && echo ";

/// What each run under the lock writes down: its number, token and the time, at its beginning and at its end.
fn noting(file: &Path, number: usize) -> String {
    let note = |what| format!("{NOW}{what} {number} $RUNVOY_LOCK_TOKEN $now >> {}", file.display());
    format!("{}; sleep 0.05; {}", note("begin"), note("end"))
}

/// A run's notes.
#[derive(Debug)]
struct Noted {
    number: usize,
    begun: u64,
    /// Absent where it was killed.
    ended: Option<u64>,
}

/// The runs in the order in which they had the lock; fails if two overlapped or a token went back.
fn noted(file: &Path) -> Vec<Noted> {
    let notes = std::fs::read_to_string(file).unwrap();
    let (mut runs, mut last): (Vec<Noted>, _) = (Vec::new(), 0);
    for line in notes.lines() {
        let [what, rest @ ..] = &line.split(' ').collect::<Vec<_>>()[..] else { panic!("{notes}") };
        let [number, token, time]: [u64; 3] =
            rest.iter().map(|word| word.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        let number = usize::try_from(number).unwrap();
        if *what == "begin" {
            assert!(token > last, "a token went back: {notes}");
            last = token;
            runs.push(Noted { number, begun: time, ended: None });
        } else {
            let run = runs.last_mut().unwrap();
            assert_eq!((run.number, last, run.ended), (number, token, None), "two overlap: {notes}");
            run.ended = Some(time);
        }
    }
    runs
}

/// The longest time from the end of one run to the beginning of the next.
fn longest_hand_off(runs: &[Noted]) -> Duration {
    let gaps = runs.windows(2).filter_map(|pair| Some(pair[1].begun.saturating_sub(pair[0].ended?)));
    Duration::from_nanos(gaps.max().unwrap_or(0))
}

fn under_lock(server: &Server, command: &str) -> Command {
    server.client(&["run", "--lock", LOCK, "--wait", "--", command])
}

fn queue(server: &Server, command: &str) -> String {
    let output = server.run(&["run", "--detach", "--lock", LOCK, "--wait", "--", command]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

/// A run that holds the lock until the file that is answered beside its id is there.
fn hold(server: &Server) -> (String, PathBuf) {
    let go = server.dir.path().join("go");
    let id = queue(server, &format!("while [ ! -e {} ]; do sleep 0.01; done", go.display()));
    (id, go)
}

fn locks(server: &Server) -> Value {
    let output = server.run(&["locks", "list", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["locks"].clone()
}

/// Those who wait, the next one first.
fn line(server: &Server) -> Vec<String> {
    let output = server.run(&["locks", "show", LOCK, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lock: Value = serde_json::from_slice(&output.stdout).unwrap();
    let waiters = lock["waiters"].as_array().unwrap();
    let positions: Vec<_> = waiters.iter().map(|waiter| waiter["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=waiters.len() as u64).collect::<Vec<_>>());
    waiters.iter().map(|waiter| waiter["execution_id"].as_str().unwrap().to_owned()).collect()
}

fn assert_no_lock_is_left(server: &Server) {
    until("the release of the last lock", || locks(server) == Value::Array(vec![]));
}

/// Which run an execution is, by its command.
fn number(record: &Value) -> usize {
    let command = record["command"].as_str().unwrap();
    let note = command.strip_prefix(NOW).unwrap();
    note.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Runs all of them, begun in the same moment.
fn at_once(clients: Vec<Command>) -> Vec<Output> {
    let start = Barrier::new(clients.len());
    std::thread::scope(|scope| {
        let started = clients.into_iter().map(|mut client| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                client.output().unwrap()
            })
        });
        let started: Vec<_> = started.collect();
        started.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn twenty_who_ask_at_once_run_one_after_the_other_in_the_order_of_their_tickets() {
    let server = Server::start();
    let file = server.dir.path().join("notes");
    let (_, go) = hold(&server);
    let clients = (0..20).map(|n| under_lock(&server, &noting(&file, n))).collect();
    let (outputs, tickets) = std::thread::scope(|scope| {
        let clients = scope.spawn(move || at_once(clients));
        until("all of them wait", || line(&server).len() == 20);
        let tickets = line(&server);
        std::fs::write(&go, "").unwrap();
        (clients.join().unwrap(), tickets)
    });
    for output in outputs {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let runs = noted(&file);
    let asked: Vec<_> = tickets.iter().map(|id| number(&server.record(id))).collect();
    assert_eq!(runs.iter().map(|run| run.number).collect::<Vec<_>>(), asked);
    let longest = longest_hand_off(&runs);
    println!("the longest hand-off took {longest:?}");
    // The promise is a second; what is left is for a busy machine.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert_no_lock_is_left(&server);
}

#[test]
fn of_many_who_do_not_wait_one_gets_it_and_the_others_are_told_who() {
    let server = Server::start();
    let go = server.dir.path().join("go");
    let command = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    let clients = (0..12).map(|_| server.client(&["run", "--lock", LOCK, "--", &command]));
    let mut clients: Vec<Child> = clients
        .map(|mut client| client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut losers = Vec::new();
    until("all but one are turned away", || {
        for n in (0..clients.len()).rev() {
            if clients[n].try_wait().unwrap().is_some() {
                losers.push(clients.swap_remove(n).wait_with_output().unwrap());
            }
        }
        clients.len() == 1
    });
    let held = locks(&server)[0]["holder"].clone();
    let (id, user) = (held["execution_id"].as_str().unwrap(), held["user"].as_str().unwrap());
    for loser in losers {
        let said = stderr(&loser);
        assert_eq!(loser.status.code(), Some(75), "{said}");
        assert!(said.contains(&format!("{user} since ")) && said.contains(id), "{said}");
    }
    std::fs::write(&go, "").unwrap();
    let winner = clients.remove(0).wait_with_output().unwrap();
    assert_eq!(winner.status.code(), Some(0), "{}", stderr(&winner));
    assert_no_lock_is_left(&server);
}

#[test]
fn an_interrupt_leaves_the_line_and_a_terminal_shows_the_place_in_it() {
    let server = Server::start();
    let (holder, go) = hold(&server);
    // `script` gives it a terminal, on which Ctrl-C is a byte.
    let inner = format!("{} run --lock {LOCK} --wait -- true", env!("CARGO_BIN_EXE_runvoy"));
    let mut command = server.client(&[]);
    let mut on_terminal = Command::new("script");
    on_terminal.args(["-qec", &inner, "/dev/null"]).current_dir(server.dir.path()).env_clear();
    on_terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_clear();
    on_terminal.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::piped());
    let mut client = Running::spawn(on_terminal);
    client.expect(&format!("position 1, behind admin@localhost ({})", &holder[..8]));
    let waiter = line(&server).remove(0);
    client.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    client.expect("leaving the line");
    let (code, out, _) = client.finish();
    assert_eq!(code, Some(130), "{}", String::from_utf8_lossy(&out));
    let record = server.record(&waiter);
    assert_eq!((&record["status"], &record["status_reason"]), (&"STOPPED".into(), &"killed".into()));
    assert_eq!(line(&server), Vec::<String>::new());
    std::fs::write(&go, "").unwrap();
    assert_no_lock_is_left(&server);
}

#[test]
fn a_stream_tells_the_place_in_line_and_a_line_that_is_full_is_told_as_that() {
    let server = Server::start();
    let (holder, go) = hold(&server);
    let mut waiters = Vec::new();
    for position in 1..=100 {
        let answer = server.ask("POST", "/run", WAITS);
        assert_eq!((answer.status, &answer.json()["position"]), (202, &position.into()), "{answer:?}");
        waiters.push(answer.json()["execution_id"].as_str().unwrap().to_owned());
    }
    let full = server.ask("POST", "/run", WAITS);
    assert_eq!((full.status, full.json()["code"].as_str()), (429, Some("QUEUE_FULL")), "{full:?}");
    assert!(full.head.contains("\r\nretry-after: "), "{full:?}");
    let refused = server.run(&["run", "--lock", LOCK, "--wait", "true"]);
    assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));

    let path = format!("/executions/{}/logs/stream", waiters[1]);
    let mut events = BufReader::new(send(server.address(), "GET", &path, &with(KEY), "")).lines();
    let mut next = || {
        let data = events.find_map(|line| line.unwrap().strip_prefix("data: ").map(str::to_owned));
        serde_json::from_str::<Value>(&data.unwrap()).unwrap()
    };
    let first = next();
    assert_eq!((&first["status"], &first["position"]), (&"QUEUED".into(), &2.into()));
    assert_eq!(first["holder"]["execution_id"], holder.as_str());
    assert!(first["holder"]["user"] == "admin@localhost" && first["holder"]["since"].is_string(), "{first}");
    assert_eq!(server.ask("DELETE", &format!("/executions/{}", waiters.remove(0)), "").status, 200);
    assert_eq!(next()["position"], 1, "who leaves the line makes room in it");
    for waiter in waiters {
        assert_eq!(server.ask("DELETE", &format!("/executions/{waiter}"), "").status, 200);
    }
    std::fs::write(&go, "").unwrap();
    assert_no_lock_is_left(&server);
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
