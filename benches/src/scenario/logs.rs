//! Lines on their way from a command to its followers.

use std::process::Command;
use std::time::{Duration, Instant};

use memchr::memchr_iter;
use runvoy_core::api::BlockData;

use super::Setup;
use super::follow::{Told, begin, follow, succeeded};
use crate::client::Connection;
use crate::figures::{Row, count, median, megabytes, time};
use crate::generate::{self, Generate, Writes};
use crate::server::Server;
use crate::{Result, machine};

const BULK_LINES: usize = 3_000_000;
const SINGLE_LINES: usize = 1_500_000;
const FOLLOWERS: usize = 100;
/// Of a command that says much, as a build does.
const PACE: usize = 20_000;
const FOLLOWED_LINES: usize = 500_000;
/// Time for all followers to be there before the first line.
const GATHER_MS: u64 = 1500;

/// What one follower of one command saw.
struct Round {
    /// Lines a second, from the request to the last line.
    rate: f64,
    /// From the last line to the end event.
    settled: Duration,
    server: Duration,
    task: Duration,
    follower: Duration,
    /// Lines a second that `cat` read of the same command.
    cat: f64,
}

pub(super) async fn lines(setup: &Setup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let kinds = [
        ("lines to one follower, written in bulk", "1,000,000/s", Writes::Bulk, BULK_LINES),
        ("the same, a write per line", "500,000/s", Writes::Lines, SINGLE_LINES),
    ];
    for (what, target, writes, lines) in kinds {
        let mut rounds = Vec::new();
        for _ in 0..setup.rounds {
            rounds.push(round(setup, &Generate::new(lines, writes)).await?);
        }
        let Round { rate, settled, server, task, follower, cat } =
            median(rounds, |round| round.rate).ok_or("no rounds")?;
        let share = 100.0 * rate / cat;
        rows.push(Row {
            what,
            target,
            measured: format!(
                "{}/s; CPU a line: command and agent {}, server {}, follower {}; end event {} after the last line",
                count(rate),
                each(task, lines),
                each(server, lines),
                each(follower, lines),
                time(settled),
            ),
            reference: format!("`cat` of the same pipe {}/s: {share:.0} %", count(cat)),
            command: "lines",
        });
    }
    Ok(rows)
}

fn each(total: Duration, lines: usize) -> String {
    time(Duration::from_secs_f64(total.as_secs_f64() / lines as f64))
}

async fn round(setup: &Setup, generate: &Generate) -> Result<Round> {
    let words = generate.command()?;
    let mut alone = Command::new(words.first().ok_or("no command")?);
    alone.args(words.iter().skip(1));
    let cat = machine::through_cat(alone)?;

    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let mut connection = Connection::open(server.address).await?;
    let us = std::process::id();
    let before = (machine::cpu(server.pid())?, machine::cpu(us)?);
    let begun = Instant::now();
    let id = begin(&mut connection, &words).await?;
    let mut reader = Reader::default();
    follow(&mut connection, &id, usize::MAX, |told| reader.take(&told)).await?;
    let end = begun.elapsed();
    let after = (machine::cpu(server.pid())?, machine::cpu(us)?);
    let last = reader.last.ok_or("no line")?.duration_since(begun);
    if reader.next != generate.count as u64 {
        return Err(format!("{} lines of {}", reader.next, generate.count).into());
    }
    // The server awaits its child a moment after it told the end.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(Round {
        rate: generate.count as f64 / last.as_secs_f64(),
        settled: end.saturating_sub(last),
        server: after.0.saturating_sub(before.0),
        task: machine::cpu_of_children(server.pid())?,
        follower: after.1.saturating_sub(before.1),
        cat: generate.count as f64 / cat.as_secs_f64(),
    })
}

/// Reads blocks as the command-line client does, and sees that no line is missing.
#[derive(Default)]
struct Reader {
    next: u64,
    last: Option<Instant>,
}

impl Reader {
    fn take(&mut self, told: &Told<'_>) -> Result<()> {
        let Told::Block(data) = told else { return Ok(()) };
        let block: BlockData<'_> = serde_json::from_slice(data)?;
        if block.first != self.next {
            return Err(format!("line {} instead of {}", block.first, self.next).into());
        }
        let text = block.text.ok_or("a block that is no text")?;
        self.next += memchr_iter(b'\n', text.as_bytes()).count() as u64;
        self.last = Some(Instant::now());
        Ok(())
    }
}

/// What many followers of one command saw, and what it cost.
struct Crowd {
    /// The command's own time, from its first line to its last.
    command: Duration,
    /// From the first block to the last, at the slowest follower.
    delivered: Duration,
    /// The server's memory at its highest, in KiB.
    peak: u64,
}

pub(super) async fn followers(setup: &Setup) -> Result<Vec<Row>> {
    let paced = usize::try_from(setup.time.as_secs())? * PACE;
    let kinds = [
        ("100 followers of a command at 20,000 lines/s", Some(PACE), paced),
        ("100 followers of a command that writes in bulk", None, FOLLOWED_LINES),
    ];
    let mut rows = Vec::new();
    for (what, pace, lines) in kinds {
        let (mut alone, mut followed) = (Vec::new(), Vec::new());
        for _ in 0..setup.rounds {
            alone.push(crowd(setup, pace, lines, 0).await?);
            followed.push(crowd(setup, pace, lines, FOLLOWERS).await?);
        }
        let by_command = |crowd: &Crowd| crowd.command.as_secs_f64();
        let peak = followed.iter().map(|crowd| crowd.peak).max().unwrap_or_default();
        let alone = median(alone, by_command).ok_or("no rounds")?;
        let followed = median(followed, by_command).ok_or("no rounds")?;
        let deliveries = (lines * FOLLOWERS) as f64 / followed.delivered.as_secs_f64();
        rows.push(Row {
            what,
            target: "the command no slower, server under 50 MB",
            measured: format!(
                "command {}; {} lines/s delivered; server at most {}",
                time(followed.command),
                count(deliveries),
                megabytes(peak),
            ),
            reference: format!(
                "without followers: command {}, server at most {}",
                time(alone.command),
                megabytes(alone.peak)
            ),
            command: "followers",
        });
    }
    Ok(rows)
}

async fn crowd(setup: &Setup, pace: Option<usize>, lines: usize, followers: usize) -> Result<Crowd> {
    let home = setup.home()?;
    let server = Server::runvoy(&setup.runvoy, home.path())?;
    let report = home.path().join("report.json");
    let generate = Generate {
        pace,
        delay: GATHER_MS,
        report: Some(report.clone()),
        ..Generate::new(lines, Writes::Bulk)
    };
    let mut connection = Connection::open(server.address).await?;
    let mut connections = Vec::new();
    for _ in 0..followers {
        connections.push(Connection::open(server.address).await?);
    }
    let id = begin(&mut connection, &generate.command()?).await?;
    let readers = connections.into_iter().map(|mut connection| {
        let id = id.clone();
        tokio::spawn(async move { count_lines(&mut connection, &id).await })
    });
    let readers: Vec<_> = readers.collect();
    let mut delivered = Duration::ZERO;
    for reader in readers {
        let (seen, time) = reader.await??;
        if seen != lines {
            return Err(format!("a follower saw {seen} lines of {lines}").into());
        }
        delivered = delivered.max(time);
    }
    succeeded(&mut connection, &id).await?;
    let peak = machine::memory(server.pid())?.peak;
    Ok(Crowd { command: generate::elapsed(&report)?, delivered, peak })
}

/// Lines by the last cursor, and the time from the first block to the last.
async fn count_lines(connection: &mut Connection, id: &str) -> Result<(usize, Duration)> {
    let (mut seen, mut first, mut last) = (0, None, None);
    let on = |told: Told<'_>| {
        if let Told::Cursor(cursor) = told {
            seen = std::str::from_utf8(cursor)?.parse()?;
            last = Some(Instant::now());
            first = first.or(last);
        }
        Ok(())
    };
    // Enough to tell one kind of line from another: a hundred decoders would be a measurement of themselves.
    follow(connection, id, 64, on).await?;
    let (first, last) = first.zip(last).ok_or("no line")?;
    Ok((seen, last.duration_since(first)))
}
