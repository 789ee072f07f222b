//! Processes: how fast they start, how much memory they hold.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Setup;
use super::follow::{begin, succeeded};
use crate::Result;
use crate::client::{Connection, request};
use crate::figures::{Row, Samples, megabytes};
use crate::generate::{Generate, Writes};
use crate::load::Load;
use crate::machine::{self, Memory};
use crate::server::{Server, clean};

const STARTS: usize = 20;
const SPAWNS: usize = 200;
/// Until a server has done what it does at its start.
const SETTLE: Duration = Duration::from_secs(2);
const AGENT_LINES: usize = 3_000_000;

pub(super) fn start(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let (mut new, mut known, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let empty = setup.home()?;
        let server = Server::runvoy(&setup.runvoy, empty.path())?;
        new.push(server.listening_after);
        server.stop()?;
        let server = Server::runvoy(&setup.runvoy, home.path())?;
        known.push(server.listening_after);
        server.stop()?;
        bare.push(machine::spawn(Command::new("true"))?);
    }
    // The first made it.
    known.remove(0);
    let [new, known, bare] = [new, known, bare].map(Samples::new);
    let row = Row {
        what: "server listening after its start",
        target: "30 ms",
        measured: format!("{known}; in an empty data directory {new}"),
        reference: format!("`true`, to its end {bare}"),
        command: "start",
    };
    Ok(vec![row])
}

pub(super) async fn idle(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    tokio::time::sleep(SETTLE).await;
    let fresh = machine::memory(server.pid())?;
    let load = Load {
        address: server.address,
        server: server.pid(),
        clients: 64,
        warm_up: Duration::ZERO,
        time: Duration::from_secs(1),
        status: 200,
    };
    let list: Arc<[Bytes]> = [request("GET", "/executions?limit=50", "")].into();
    load.drive(&list).await?;
    tokio::time::sleep(SETTLE).await;
    let used = machine::memory(server.pid())?;
    let size = std::fs::metadata(&setup.runvoy)?.len() / 1024;
    let text =
        |memory: Memory| format!("{} ({} not of files)", megabytes(memory.now), megabytes(memory.anonymous));
    let row = Row {
        what: "server, idle",
        target: "16 MB resident",
        measured: format!("{}; after a second of 64 clients {}", text(fresh), text(used)),
        reference: format!("`runvoy` on disk {}", megabytes(size)),
        command: "idle",
    };
    Ok(vec![row])
}

pub(super) async fn agent(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let mut busy = [Memory::default(); 2];
    for writes in [Writes::Bulk, Writes::Lines] {
        let id = begin(&mut connection, &Generate::new(AGENT_LINES, writes).command()?).await?;
        for (most, seen) in busy.iter_mut().zip(watch(&id).await?) {
            if seen.peak > most.peak {
                *most = seen;
            }
        }
        succeeded(&mut connection, &id).await?;
    }
    let [supervisor, keeper] = busy;
    let row = Row {
        what: "agent, busy with 1,000,000 lines/s and more",
        target: "5 MB resident",
        measured: format!(
            "at most {} ({} not of files); its keeper, which waits, {} ({})",
            megabytes(supervisor.peak),
            megabytes(supervisor.anonymous),
            megabytes(keeper.peak),
            megabytes(keeper.anonymous),
        ),
        reference: "-".to_owned(),
        command: "agent",
    };
    Ok(vec![row])
}

/// The memory of an execution's supervisor and keeper, as long as they are there.
async fn watch(id: &str) -> Result<[Memory; 2]> {
    let mut most = [Memory::default(); 2];
    let begun = Instant::now();
    let mut known = Vec::new();
    loop {
        if known.len() < 2 {
            known = machine::processes_for(id)?;
        }
        let mut alive = false;
        for (pid, verb) in &known {
            // One that has ended has no memory.
            let Ok(memory) = machine::memory(*pid) else { continue };
            alive = true;
            let [supervisor, keeper] = &mut most;
            let place = if verb == "init" { supervisor } else { keeper };
            if memory.peak >= place.peak {
                *place = memory;
            }
        }
        let gone = known.len() == 2 && !alive;
        if gone || begun.elapsed() > Duration::from_mins(1) {
            return Ok(most);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn version(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let (mut versions, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..SPAWNS {
        let mut version = clean(&setup.runvoy, home.path());
        version.arg("version");
        versions.push(machine::spawn(version)?);
        bare.push(machine::spawn(Command::new("true"))?);
    }
    let [versions, bare] = [versions, bare].map(Samples::new);
    let row = Row {
        what: "`runvoy version`, from its start to its end",
        target: "3 ms",
        measured: versions.to_string(),
        reference: format!("`true` {bare}"),
        command: "version",
    };
    Ok(vec![row])
}
