//! The newest executions, of few and of many.

use bytes::Bytes;

use super::Setup;
use super::page::timed;
use crate::client::{Connection, request};
use crate::figures::{Row, Samples, median};
use crate::server::{Noop, Server};
use crate::{Result, noop};

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
const NEWEST: usize = 50;
const ROUNDS: usize = 15;
const PER_ROUND: usize = 200;

pub(super) async fn list(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let mut servers = Vec::new();
    let mut connections = Vec::new();
    let dirs = [("few", FEW), ("many", MANY)].map(|(name, records)| (home.path().join(name), records));
    // A server hangs up on who says nothing for long, so both are filled first.
    for (dir, records) in &dirs {
        noop::fill(dir, *records).await?;
    }
    for (dir, _) in &dirs {
        let server = Server::noop(dir, Noop::default())?;
        let mut connection = Connection::open(server.address).await?;
        let page = connection.json(&newest(), 200).await?;
        if page.as_array().map(Vec::len) != Some(NEWEST) {
            return Err(format!("no {NEWEST} executions: {page}").into());
        }
        servers.push(server);
        connections.push(connection);
    }
    let (list, health) = (vec![newest(); PER_ROUND], vec![request("GET", "/health", ""); PER_ROUND]);
    let (mut rounds, mut constants) = ([Vec::new(), Vec::new()], Vec::new());
    // In turn, so that a bad minute is everybody's.
    for _ in 0..=ROUNDS {
        for (rounds, connection) in rounds.iter_mut().zip(&mut connections) {
            rounds.push(timed(connection, &list).await?);
            constants.push(timed(connection, &health).await?);
        }
    }
    let by_time = |round: &Samples| round.p50().as_secs_f64();
    let [few, many] = rounds.map(|mut rounds| {
        // The first was for warming up.
        rounds.remove(0);
        median(rounds, by_time)
    });
    let (few, many) = few.zip(many).ok_or("no rounds")?;
    let constant = median(constants, by_time).ok_or("no rounds")?;
    let change = 100.0 * (by_time(&many) / by_time(&few) - 1.0);
    let row = Row {
        what: "the newest 50 executions of 1,000,000, one client",
        target: "1 ms, within 20 % of what it is of 1,000",
        measured: format!("{many}: {change:+.0} %"),
        reference: format!("of 1,000 {few}; constant route {constant}"),
        command: "list",
    };
    Ok(vec![row])
}

fn newest() -> Bytes {
    request("GET", &format!("/executions?limit={NEWEST}"), "")
}
