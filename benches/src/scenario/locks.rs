//! Locks: free ones, and a long line for one.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::follow::{Told, follow, succeeded};
use super::{Setup, disk};
use crate::client::{Connection, request};
use crate::figures::{Row, Samples, median, time};
use crate::load::Load;
use crate::server::{Noop, Server};
use crate::{Result, machine};

const CLIENTS: usize = 64;
const POLICIES: usize = 500;
/// More than are asked for in a round.
const LOCKS: usize = 200_000;
const WAITERS: usize = 1000;
/// As many as may wait for one lock, unless a server is told otherwise.
const HAND_OFFS: usize = 100;
/// How long the line is watched while nothing happens.
const WATCHED: Duration = Duration::from_secs(5);

fn run_body(command: &str, lock: &str, when_held: &str) -> Bytes {
    let body = json!({ "command": command, "lock": lock, "on_lock_held": when_held }).to_string();
    request("POST", "/run", &body)
}

/// Runs that each want a lock of their own.
pub(super) async fn free(setup: &Setup) -> Result<Vec<Row>> {
    let mut rounds = Vec::new();
    for _ in 0..setup.rounds {
        let home = setup.home()?;
        let server = Server::noop(&home.path().join("data"), Noop { policies: POLICIES, ..Noop::default() })?;
        let bodies: Arc<[Bytes]> =
            (0..LOCKS).map(|n| run_body("make deploy", &format!("lock-{n}"), "fail")).collect();
        let load = Load {
            address: server.address,
            server: server.pid(),
            clients: CLIENTS,
            warm_up: Duration::from_millis(500),
            time: setup.time,
            status: 202,
        };
        rounds.push(load.drive(&bodies).await?);
    }
    let middle = median(rounds, |round| round.rate).ok_or("no rounds")?;
    Ok(vec![Row {
        what: "`POST /run` with a free lock, 500 policies of an organisation, no-op executor, 64 clients",
        target: "6,000/s",
        measured: middle.text(),
        reference: disk(setup)?.1,
        command: "free-locks",
    }])
}

async fn ask(connection: &mut Connection, body: &[u8]) -> Result<String> {
    let answer = connection.json(body, 202).await?;
    let id = answer.get("execution_id").and_then(Value::as_str).ok_or("an answer without an id")?;
    Ok(id.to_owned())
}

/// A thousand in line for one lock, each followed; then the holder goes, and they run one after the other.
pub(super) async fn line(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::noop(&home.path().join("data"), Noop { runs_true: true, ..Noop::default() })?;
    let mut connection = Connection::open(server.address).await?;
    let holder = ask(&mut connection, &run_body("hold", "prod", "fail")).await?;
    let mut followers = JoinSet::new();
    for _ in 0..WAITERS {
        let id = ask(&mut connection, &run_body("true", "prod", "queue")).await?;
        let mut follower = Connection::open(server.address).await?;
        followers.spawn(async move {
            let mut end = None;
            let on = |told: Told<'_>| {
                if matches!(told, Told::End) {
                    end = Some(Instant::now());
                }
                Ok(())
            };
            follow(&mut follower, &id, 1024, on).await?;
            Ok::<_, crate::Error>(end)
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = machine::cpu(server.pid())?;
    tokio::time::sleep(WATCHED).await;
    let spent = machine::cpu(server.pid())?.saturating_sub(before);
    let load = 100.0 * spent.as_secs_f64() / WATCHED.as_secs_f64();
    let released = Instant::now();
    connection.json(&request("DELETE", &format!("/executions/{holder}"), ""), 200).await?;
    let mut ends = vec![released];
    while let Some(end) = followers.join_next().await {
        ends.push(end??.ok_or("a stream without an end")?);
    }
    ends.sort_unstable();
    let gaps = ends.iter().zip(ends.iter().skip(1)).map(|(before, after)| *after - *before);
    let gaps = Samples::new(gaps.collect());
    Ok(vec![Row {
        what: "1,000 in line for one lock, each followed",
        target: "no measurable load; hand-off p99 50 ms",
        measured: format!("{load:.1} % of a core while they wait; from one's end to the next one's {gaps}"),
        reference: disk(setup)?.1,
        command: "line",
    }])
}

/// A line of processes: from what one does last to what the next one does first, by their own clocks.
pub(super) async fn hand_off(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let [go, notes] = ["go", "notes"].map(|name| home.path().join(name));
    let hold = format!("while [ ! -e '{}' ]; do sleep 0.01; done", go.display());
    let mut last = ask(&mut connection, &run_body(&hold, "prod", "fail")).await?;
    let note = format!("date +%s%N >> '{}'", notes.display());
    for _ in 0..HAND_OFFS {
        last = ask(&mut connection, &run_body(&format!("{note}; {note}"), "prod", "queue")).await?;
    }
    std::fs::write(go, "")?;
    succeeded(&mut connection, &last).await?;
    drop(server);
    let notes = std::fs::read_to_string(notes)?;
    let times = notes.lines().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let (ends, begins) = (times.iter().skip(1).step_by(2), times.iter().skip(2).step_by(2));
    let gaps = ends.zip(begins).map(|(end, begin)| Duration::from_nanos(begin.saturating_sub(*end)));
    let gaps = Samples::new(gaps.collect());
    let bare = (0..HAND_OFFS).map(|_| {
        let mut alone = Command::new("sh");
        alone.args(["-c", "date +%s%N"]);
        machine::first_line(alone)
    });
    let bare = Samples::new(bare.collect::<Result<_>>()?);
    Ok(vec![Row {
        what: "100 in line for one lock, process executor: from one's last act to the next one's first",
        target: "1 s",
        measured: format!("{gaps}, at most {}", time(gaps.at(100))),
        reference: format!("`sh -c date` through a pipe {bare}"),
        command: "hand-off",
    }])
}
