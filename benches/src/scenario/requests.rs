//! Requests by many clients at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Setup, disk};
use crate::Result;
use crate::client::{Connection, request};
use crate::figures::{Row, median, time};
use crate::load::{Load, Outcome};
use crate::server::{Noop, Server};

const CLIENTS: usize = 64;
const WARM_UP: Duration = Duration::from_millis(500);
/// Executions whose status is read.
const RECORDS: usize = 1000;

/// Answers without looking anything up.
fn health() -> Arc<[Bytes]> {
    [request("GET", "/health", "")].into()
}

fn run_body() -> Bytes {
    let body = json!({
        "command": "terraform -chdir=environments/production apply -input=false plan.tfplan",
        "env": { "TF_IN_AUTOMATION": "true" },
    });
    request("POST", "/run", &body.to_string())
}

/// The round in the middle of several, by rate.
fn middle(rounds: Vec<Outcome>) -> Result<Outcome> {
    median(rounds, |round| round.rate).ok_or_else(|| "no rounds".into())
}

fn load(server: &Server, setup: &Setup, clients: usize, status: u16) -> Load {
    let (address, pid) = (server.address, server.pid());
    Load { address, server: pid, clients, warm_up: WARM_UP, time: setup.time, status }
}

pub(super) async fn constant(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::noop(&home.path().join("data"), Noop::default())?;
    let mut rounds = Vec::new();
    for _ in 0..setup.rounds {
        rounds.push(load(&server, setup, CLIENTS, 200).drive(&health()).await?);
    }
    let row = Row {
        what: "constant route (`GET /health`), 64 clients",
        target: "a reference",
        measured: middle(rounds)?.text(),
        reference: "-".to_owned(),
        command: "constant",
    };
    Ok(vec![row])
}

pub(super) async fn status(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::noop(&home.path().join("data"), Noop::default())?;
    let mut connection = Connection::open(server.address).await?;
    let mut reads = Vec::new();
    for _ in 0..RECORDS {
        let record = connection.json(&run_body(), 202).await?;
        let id = record.get("execution_id").and_then(|id| id.as_str()).ok_or("an answer without an id")?;
        reads.push(request("GET", &format!("/executions/{id}/status"), ""));
    }
    let (reads, health) = (reads.into(), health());
    let (mut constants, mut statuses) = (Vec::new(), Vec::new());
    let load = load(&server, setup, CLIENTS, 200);
    // In turn, so that a bad minute is everybody's.
    for _ in 0..setup.rounds {
        constants.push(load.drive(&health).await?);
        statuses.push(load.drive(&reads).await?);
    }
    let (constant, status) = (middle(constants)?, middle(statuses)?);
    let share = 100.0 * status.rate / constant.rate;
    let row = Row {
        what: "status read, authenticated and authorised, 64 clients",
        target: "35,000/s, and half of a constant route",
        measured: status.text(),
        reference: format!("constant route {}: {share:.0} %", constant.text()),
        command: "status",
    };
    Ok(vec![row])
}

pub(super) async fn run(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::noop(&home.path().join("data"), Noop::default())?;
    let (body, health): (Arc<[Bytes]>, _) = ([run_body()].into(), health());
    let (mut constants, mut many, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setup.rounds {
        constants.push(load(&server, setup, CLIENTS, 200).drive(&health).await?);
        many.push(load(&server, setup, CLIENTS, 202).drive(&body).await?);
        let (sync, text) = disk(setup)?;
        one.push((load(&server, setup, 1, 202).drive(&body).await?, sync, text));
    }
    drop(server);
    let constant = middle(constants)?;
    let by_latency = |round: &(Outcome, Duration, String)| round.0.latency.p50().as_secs_f64();
    let (one, sync, disk) = median(one, by_latency).ok_or("no rounds")?;
    let allowed = Duration::from_millis(1) + 2 * sync;
    Ok(vec![
        Row {
            what: "`POST /run`, durable, no-op executor, 64 clients",
            target: "10,000/s, p99 under 25 ms",
            measured: middle(many)?.text(),
            reference: format!("{disk}; constant route {}", constant.text()),
            command: "run",
        },
        Row {
            what: "the same, one client",
            target: "p50 within 1 ms + 2 fdatasync",
            measured: format!("{} ({} samples), allowed {}", one.text(), one.latency.len(), time(allowed)),
            reference: disk,
            command: "run",
        },
    ])
}
