//! Whoever is killed at whatever moment: holders, those who wait, their clients, and the server.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Noted, assert_no_lock_is_left, locks, longest_hand_off, noted, noting, number, queue};
use super::{stderr, stdout, under_lock};
use crate::harness::Server;
use crate::kill::agents_of;

const ROUNDS: usize = 20;
/// Each round asks for this many runs: one by a client that does not stay, the others by clients that do.
const RUNS: usize = 3;

/// Numbers that differ from run to run, and can be had again from their seed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap_or(1) | 1;
        #[expect(clippy::print_stdout, reason = "what a failure is repeated with")]
        {
            println!("seed {seed}");
        }
        Self(seed)
    }

    /// Below `end`; by Marsaglia's xorshift.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// In any order; by Fisher and Yates.
    fn shuffled<T, const N: usize>(&mut self, mut all: [T; N]) -> [T; N] {
        for last in (1..N).rev() {
            all.swap(last, self.below(last + 1));
        }
        all
    }
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Holder,
    Waiter,
    Client,
    Server,
}

/// A server, who asked it for the lock, and who was killed.
struct Havoc {
    server: Server,
    file: PathBuf,
    chance: Chance,
    /// Runs that were certainly asked for.
    asked: Vec<String>,
    clients: Vec<Child>,
    /// Holders whose agent was killed.
    holders: HashSet<String>,
    /// Those killed while they waited, or just after.
    waiters: HashSet<String>,
}

impl Havoc {
    fn new() -> Self {
        let server = Server::start();
        let file = server.dir.path().join("notes");
        let (holders, waiters) = (HashSet::new(), HashSet::new());
        let (asked, clients) = (Vec::new(), Vec::new());
        Self { server, file, chance: Chance::new(), asked, clients, holders, waiters }
    }

    fn ask(&mut self, round: usize) {
        let number = RUNS * round;
        self.asked.push(queue(&self.server, &noting(&self.file, number)));
        for number in number + 1..number + RUNS {
            let mut client = under_lock(&self.server, &noting(&self.file, number));
            self.clients.push(client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        }
    }

    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Holder => self.kill_holder(),
            Victim::Waiter => self.kill_waiter(),
            Victim::Client => {
                let mut client = self.clients.swap_remove(self.chance.below(self.clients.len()));
                client.kill().unwrap();
                client.wait().unwrap();
            }
            Victim::Server => {
                self.server.crash();
                self.server.restart();
            }
        }
    }

    /// Kills the agent of who holds the lock, if there is one.
    fn kill_holder(&mut self) {
        let Some(holder) = locks(&self.server)[0]["holder"]["execution_id"].as_str().map(str::to_owned)
        else {
            return;
        };
        for pid in agents_of(&self.server, &holder) {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        self.holders.insert(holder);
    }

    /// Has somebody killed who waits, if anybody does: they may have got their turn meanwhile.
    fn kill_waiter(&mut self) {
        let waiters = locks(&self.server)[0]["waiters"].clone();
        let Some(waiters) = waiters.as_array().filter(|waiters| !waiters.is_empty()) else { return };
        let waiter = &waiters[self.chance.below(waiters.len())]["execution_id"];
        let waiter = waiter.as_str().unwrap().to_owned();
        let killed = self.server.run(&["kill", "--no-wait", &waiter]);
        assert_eq!(killed.status.code(), Some(0), "{}", stderr(&killed));
        self.waiters.insert(waiter);
    }

    /// Every record, once all have ended.
    fn records(&mut self) -> Vec<Value> {
        for mut client in self.clients.drain(..) {
            client.wait().unwrap();
        }
        let all = stdout(&self.server.run(&["list", "--all", "-o", "json"]));
        let all: Vec<Value> = serde_json::from_str(&all).unwrap();
        let ids: BTreeSet<_> = all.iter().map(|run| run["execution_id"].as_str().unwrap()).collect();
        assert!(self.asked.iter().all(|id| ids.contains(id.as_str())), "{:?} {ids:?}", self.asked);
        ids.into_iter().map(|id| self.server.ended(id)).collect()
    }

    /// What a run may have come to: nobody ran twice, and only who was killed did not run to the end.
    fn assert_is_told(&self, record: &Value, runs: &[Noted]) {
        let number = number(record);
        let notes: Vec<_> = runs.iter().filter(|run| run.number == number).collect();
        assert!(notes.len() <= 1, "it ran twice: {notes:?}");
        let id = record["execution_id"].as_str().unwrap();
        let succeeded = record["status"] == "SUCCEEDED";
        let has_run = notes.iter().any(|run| run.ended.is_some());
        assert!(has_run || !succeeded, "it did not run to its end: {notes:?} {record}");
        if !self.holders.contains(id) {
            let was_killed = self.waiters.contains(id) && record["status"] == "STOPPED";
            assert!(succeeded || was_killed, "{record}");
        }
    }
}

#[test]
fn whoever_is_killed_nobody_in_line_is_forgotten_and_no_lock_is_left() {
    let mut havoc = Havoc::new();
    for round in 0..ROUNDS {
        havoc.ask(round);
        for victim in havoc.chance.shuffled([Victim::Holder, Victim::Waiter, Victim::Client, Victim::Server])
        {
            // Not to wait for anything: the moment is to be another one each time.
            std::thread::sleep(Duration::from_millis(havoc.chance.below(50) as u64));
            havoc.kill(victim);
        }
    }
    let records = havoc.records();
    assert_no_lock_is_left(&havoc.server);
    let runs = noted(&havoc.file);
    for record in &records {
        havoc.assert_is_told(record, &runs);
    }
    let in_turn: Vec<_> = runs.iter().map(|run| run.number).filter(|number| number % RUNS == 0).collect();
    assert!(in_turn.is_sorted(), "who asked first ran first: {in_turn:?}");
    assert!(!havoc.holders.is_empty() && !havoc.waiters.is_empty(), "nobody was killed");
    println!(
        "{} runs, {} holders and {} who waited killed; the longest hand-off, servers' starts included, took {:?}",
        runs.len(),
        havoc.holders.len(),
        havoc.waiters.len(),
        longest_hand_off(&runs)
    );
}
