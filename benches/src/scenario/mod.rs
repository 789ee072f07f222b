//! What is measured, and beside what.

mod follow;
mod list;
mod locks;
mod logs;
mod page;
mod process;
mod requests;
mod shell;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use tempfile::TempDir;

use crate::figures::Row;
use crate::{Result, machine};

/// What to measure
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Scenario {
    /// `POST /run`, durable, without anything that runs: 64 clients, and one
    Run,
    /// `POST /run` with a free lock and 500 policies
    FreeLocks,
    /// A thousand in line for one lock
    Line,
    /// One under a lock after the other, as processes
    HandOff,
    /// Status reads by 64 clients
    Status,
    /// A route that answers the same to everybody, by 64 clients
    Constant,
    /// From `POST /run` to the command's first line at a follower
    FirstLine,
    /// From a prompt without a newline to its reader
    Prompt,
    /// A kill of a command that ignores it
    Kill,
    /// Lines through agent, segments, server and one follower
    Lines,
    /// A hundred followers of one execution
    Followers,
    /// Pages of a log of 1 GB
    Page,
    /// The newest 50 executions of 1,000 and of 1,000,000
    List,
    /// From the server's start until it listens
    Start,
    /// The memory of an idle server
    Idle,
    /// The memory of a busy agent
    Agent,
    /// `runvoy version`
    Version,
    /// All of these, one after the other
    All,
}

/// How to measure.
pub(crate) struct Setup {
    pub(crate) runvoy: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
}

impl Setup {
    /// A directory that is removed when this is dropped.
    pub(crate) fn home(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("runvoy-bench-").tempdir_in(&self.dir)?)
    }
}

impl Scenario {
    const ALL: [Self; 17] = [
        Self::Constant,
        Self::Status,
        Self::Run,
        Self::FreeLocks,
        Self::Line,
        Self::HandOff,
        Self::FirstLine,
        Self::Prompt,
        Self::Kill,
        Self::Lines,
        Self::Followers,
        Self::Page,
        Self::List,
        Self::Start,
        Self::Idle,
        Self::Agent,
        Self::Version,
    ];

    /// Measures and prints.
    pub(crate) async fn measure(self, setup: &Setup) -> Result<()> {
        Row::head();
        let scenarios: &[Self] = if self == Self::All { &Self::ALL } else { &[self] };
        for scenario in scenarios {
            for row in scenario.rows(setup).await? {
                row.print();
            }
        }
        Ok(())
    }

    async fn rows(self, setup: &Setup) -> Result<Vec<Row>> {
        match self {
            Self::Constant => requests::constant(setup).await,
            Self::Status => requests::status(setup).await,
            Self::Run => requests::run(setup).await,
            Self::FreeLocks => locks::free(setup).await,
            Self::Line => locks::line(setup).await,
            Self::HandOff => locks::hand_off(setup).await,
            Self::FirstLine => follow::first_line(setup).await,
            Self::Prompt => shell::prompt(setup).await,
            Self::Kill => shell::kill(setup).await,
            Self::Lines => logs::lines(setup).await,
            Self::Followers => logs::followers(setup).await,
            Self::Page => page::page(setup).await,
            Self::List => list::list(setup).await,
            Self::Start => process::start(setup),
            Self::Idle => process::idle(setup).await,
            Self::Agent => process::agent(setup).await,
            Self::Version => process::version(setup),
            Self::All => Ok(Vec::new()),
        }
    }
}

/// The directory of this program: of a build, hence on a disk.
pub(crate) fn beside() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    Ok(exe.parent().ok_or("a program without a directory")?.to_owned())
}

/// How long this disk takes to make 4 KiB durable, in words.
fn disk(setup: &Setup) -> Result<(Duration, String)> {
    let samples = machine::fdatasync(&setup.dir, 500)?;
    Ok((samples.p50(), format!("fdatasync of 4 KiB {samples}")))
}
