//! What feels like a shell: a prompt that shows, a kill that kills.

use std::time::{Duration, Instant};

use runvoy_core::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::Setup;
use super::follow::{Told, begin, follow};
use crate::Result;
use crate::client::{Connection, request};
use crate::figures::{Row, Samples};
use crate::server::Server;

const PROMPTS: usize = 30;
const BARS: usize = 3;
const KILLS: usize = 10;
const GRACE: Duration = Duration::from_secs(1);

/// Writes the time, without a newline, and goes on.
const PROMPT: &str = r#"printf %s "$(date +%s%N)"; sleep 0.5"#;

/// Draws a bar again and again, as the time: a carriage return before each, and no newline.
const BAR: &str =
    r#"n=0; while [ $n -lt 150 ]; do printf '\r%s' "$(date +%s%N)"; sleep 0.02; n=$((n+1)); done"#;

/// Ignores what asks it to end, as do its daemons in sessions of their own, and floods its output.
const STUBBORN: &str = r#"trap '' TERM HUP INT
(setsid sh -c "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" &) ; while :; do sleep 1; done" &)
echo ready
while :; do echo flood flood flood flood flood; done"#;

fn shell(script: &str) -> [String; 3] {
    ["sh", "-c", script].map(str::to_owned)
}

/// From the write of a prompt, or of a bar, until its reader has it.
pub(super) async fn prompt(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let (mut prompts, mut bars) = (Vec::new(), Vec::new());
    for _ in 0..PROMPTS {
        prompts.extend(delays(&mut connection, PROMPT).await?);
    }
    for _ in 0..BARS {
        bars.extend(delays(&mut connection, BAR).await?);
    }
    drop(server);
    let row = |what, delays| Row {
        what,
        target: "200 ms",
        measured: Samples::new(delays).to_string(),
        reference: "the agent waits 100 ms for the rest of a line".to_owned(),
        command: "prompt",
    };
    Ok(vec![
        row("a prompt without a newline, from its write to its reader", prompts),
        row("a bar that is drawn anew after `\\r` every 20 ms, each time to its reader", bars),
    ])
}

/// How long each of the times that a script writes took to its reader.
async fn delays(connection: &mut Connection, script: &str) -> Result<Vec<Duration>> {
    let id = begin(connection, &shell(script)).await?;
    let mut delays = Vec::new();
    let on = |told: Told<'_>| {
        if let Told::Block(data) = told {
            let read = SystemClock.now().as_nanosecond();
            let block: Value = serde_json::from_slice(data)?;
            let written = block.get("text").and_then(Value::as_str).ok_or("a time that is no text")?;
            for written in written.split_ascii_whitespace() {
                let nanoseconds = read.saturating_sub(written.parse()?);
                delays.push(Duration::from_nanos(u64::try_from(nanoseconds)?));
            }
        }
        Ok(())
    };
    follow(connection, &id, 64 * 1024, on).await?;
    if delays.is_empty() { Err("nothing was written".into()) } else { Ok(delays) }
}

/// From a kill until nothing of a stubborn command is left, and the record says so.
pub(super) async fn kill(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let mut late = Vec::new();
    for _ in 0..KILLS {
        let id = begin(&mut connection, &shell(STUBBORN)).await?;
        ready(&mut connection, &id).await?;
        let asked = Instant::now();
        let body = format!(r#"{{"grace":{}}}"#, GRACE.as_secs());
        connection.json(&request("DELETE", &format!("/executions/{id}"), &body), 200).await?;
        let wait = request("GET", &format!("/executions/{id}?wait=20"), "");
        let record = connection.json(&wait, 200).await?;
        if record.get("status").and_then(Value::as_str) != Some("STOPPED") {
            return Err(format!("not stopped: {record}").into());
        }
        late.push(asked.elapsed().saturating_sub(GRACE));
    }
    drop(server);
    Ok(vec![Row {
        what: "a kill of a command that ignores it, with daemons that do too: beyond its grace of 1 s",
        target: "1 s",
        measured: Samples::new(late).to_string(),
        reference: "-".to_owned(),
        command: "kill",
    }])
}

/// Waits until a command has written something.
async fn ready(connection: &mut Connection, id: &str) -> Result<()> {
    let page = request("GET", &format!("/executions/{id}/logs?limit=1&wait=20"), "");
    let page = connection.json(&page, 200).await?;
    let is_there = page.get("events").and_then(Value::as_array).is_some_and(|events| !events.is_empty());
    if is_there { Ok(()) } else { Err("the command says nothing".into()) }
}
