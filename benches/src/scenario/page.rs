//! Pages from anywhere in a large log.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::Setup;
use super::follow::{begin, succeeded};
use crate::Result;
use crate::client::{Connection, request, unexpected};
use crate::figures::{Row, Samples, count, time};
use crate::generate::{Generate, LINE_BYTES, Writes};
use crate::server::Server;

/// 1 GB.
const LINES: usize = 10_000_000;
const PAGE: usize = 1000;
const PAGES: usize = 1000;

pub(super) async fn page(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let words = Generate::new(LINES, Writes::Bulk).command()?;
    let id = begin(&mut connection, &words).await?;
    succeeded(&mut connection, &id).await?;
    let page = |after: usize| {
        let cursor = if after == 0 { "limit=1000".to_owned() } else { format!("after={after}&limit=1000") };
        request("GET", &format!("/executions/{id}/logs?{cursor}"), "")
    };

    // Whether the log is complete is asked by its last page, of whoever has not read the rest.
    let begun = Instant::now();
    let last = connection.json(&page(LINES - PAGE), 200).await?;
    let first_last = begun.elapsed();
    if last.get("complete") != Some(&Value::Bool(true)) {
        return Err("the last page does not say that the log is complete".into());
    }
    let places = places(LINES - PAGE);
    for place in places.iter().take(10) {
        let page = connection.json(&page(*place), 200).await?;
        let events = page.get("events").and_then(Value::as_array).map_or(0, Vec::len);
        let next = page.get("next").and_then(Value::as_str).and_then(|next| next.parse().ok());
        if events != PAGE || next != Some(place + PAGE) {
            return Err(format!("{events} events after {place}, then {next:?}").into());
        }
    }
    let requests: Arc<[Bytes]> = places.iter().map(|place| page(*place)).collect();
    let pages = timed(&mut connection, &requests).await?;
    let ends = timed(&mut connection, &vec![page(LINES - PAGE); PAGES / 10]).await?;
    let constant = timed(&mut connection, &vec![request("GET", "/health", ""); PAGES]).await?;
    let row = Row {
        what: "a page of 1,000 lines anywhere in a log of 1 GB, one client",
        target: "2 ms",
        measured: format!(
            "{pages}; the last page {ends}, and {} when it is the first that is read",
            time(first_last)
        ),
        reference: format!("constant route {constant}; {} lines of {LINE_BYTES} bytes", count(LINES as f64)),
        command: "page",
    };
    Ok(vec![row])
}

/// One request after the other.
pub(super) async fn timed(connection: &mut Connection, requests: &[Bytes]) -> Result<Samples> {
    let mut samples = Vec::with_capacity(requests.len());
    for request in requests {
        let begun = Instant::now();
        let answer = connection.ask(request).await?;
        if answer.status != 200 {
            return Err(unexpected(&answer).into());
        }
        samples.push(begun.elapsed());
    }
    Ok(Samples::new(samples))
}

/// Places below a limit, in no order, the same each time (Knuth's generator).
fn places(limit: usize) -> Vec<usize> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % limit
    };
    std::iter::repeat_with(next).take(PAGES).collect()
}
