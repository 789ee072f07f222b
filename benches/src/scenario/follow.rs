//! Commands, and who follows them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Setup, disk};
use crate::client::{Connection, request};
use crate::figures::{Row, Samples};
use crate::server::Server;
use crate::{Result, machine};

/// Runs of the command.
const RUNS: usize = 300;
const WARM_UP: usize = 20;
/// No command of a measurement takes longer, whatever becomes of us.
const TIMEOUT_SECONDS: u64 = 180;

/// What a stream says.
pub(super) enum Told<'a> {
    /// The cursor after what comes next.
    Cursor(&'a [u8]),
    /// Lines, as JSON.
    Block(&'a [u8]),
    /// The end.
    End,
}

/// The events of a stream that are told apart.
#[derive(Clone, Copy)]
enum Kind {
    Block,
    End,
    Other,
}

/// Starts a command; its id.
pub(super) async fn begin(connection: &mut Connection, words: &[String]) -> Result<String> {
    let body = json!({ "args": words, "timeout": TIMEOUT_SECONDS }).to_string();
    let answer = connection.json(&request("POST", "/run", &body), 202).await?;
    let id = answer.get("execution_id").and_then(Value::as_str).ok_or("an answer without an id")?;
    Ok(id.to_owned())
}

/// Follows an execution to its end. Of each block `most` bytes are looked at.
pub(super) async fn follow(
    connection: &mut Connection,
    id: &str,
    most: usize,
    mut on: impl FnMut(Told<'_>) -> Result<()>,
) -> Result<()> {
    let request = request("GET", &format!("/executions/{id}/logs/stream?format=blocks"), "");
    let (mut kind, mut has_ended) = (Kind::Other, false);
    let on_line = |line: &[u8]| {
        if let Some(data) = line.strip_prefix(b"data: ") {
            return match kind {
                Kind::Block => on(Told::Block(data)),
                Kind::End => {
                    has_ended = true;
                    on(Told::End)
                }
                Kind::Other => Ok(()),
            };
        }
        if let Some(cursor) = line.strip_prefix(b"id: ") {
            return on(Told::Cursor(cursor));
        }
        kind = match line.strip_prefix(b"event: ") {
            None => return Ok(()),
            Some(b"block") => Kind::Block,
            Some(b"end") => Kind::End,
            Some(b"gap") => return Err("the log has a gap".into()),
            Some(_) => Kind::Other,
        };
        Ok(())
    };
    connection.lines(&request, most, on_line).await?;
    if has_ended { Ok(()) } else { Err("the stream closed before the end".into()) }
}

/// Waits until an execution has succeeded.
pub(super) async fn succeeded(connection: &mut Connection, id: &str) -> Result<()> {
    let wait = request("GET", &format!("/executions/{id}?wait=20"), "");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(TIMEOUT_SECONDS) {
        let record = connection.json(&wait, 200).await?;
        match record.get("status").and_then(Value::as_str) {
            Some("SUCCEEDED") => return Ok(()),
            Some("QUEUED" | "STARTING" | "RUNNING") => {}
            _ => return Err(format!("the command failed: {record}").into()),
        }
    }
    Err("the command did not end".into())
}

pub(super) async fn first_line(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let words = ["sh", "-c", "echo hello"].map(str::to_owned);
    let (mut accepted, mut lines, mut ends, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 0..WARM_UP + RUNS {
        let begun = Instant::now();
        let id = begin(&mut connection, &words).await?;
        let answered = begun.elapsed();
        let mut line = None;
        let on = |told: Told<'_>| {
            if matches!(told, Told::Block(_)) {
                line.get_or_insert_with(|| begun.elapsed());
            }
            Ok(())
        };
        follow(&mut connection, &id, 1024, on).await?;
        let end = begun.elapsed();
        let mut alone = Command::new("sh");
        alone.args(["-c", "echo hello"]);
        let alone = machine::first_line(alone)?;
        if run >= WARM_UP {
            accepted.push(answered);
            lines.push(line.ok_or("no line")?);
            ends.push(end);
            bare.push(alone);
        }
    }
    drop(server);
    let [accepted, lines, ends, bare] = [accepted, lines, ends, bare].map(Samples::new);
    let row = Row {
        what: "from `POST /run` to the first line at a follower, process executor",
        target: "p50 10 ms, p99 25 ms",
        measured: format!("{lines} (accepted {accepted}; end event {ends})"),
        reference: format!("`sh -c 'echo hello'` through a pipe {bare}; {}", disk(setup)?.1),
        command: "first-line",
    };
    Ok(vec![row])
}
