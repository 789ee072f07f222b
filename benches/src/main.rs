//! Measures Runvoy as a whole: servers in processes of their own, real requests, real commands.
//!
//! Prints a row of Markdown for each figure. Everything stays on this machine's loopback, in a temporary directory
//! that is removed at the end. `docs/PERFORMANCE.md` says what the figures mean.
#![expect(clippy::print_stdout, reason = "the table is the program's output")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod client;
mod figures;
mod generate;
mod load;
mod machine;
mod noop;
mod policies;
mod sample;
mod scenario;
mod server;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::generate::Generate;
use crate::scenario::{Scenario, Setup};
use crate::server::Noop;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// The key of every server that is measured.
const KEY: &str = "a-key-that-measures-and-opens-nothing-else";

/// Measure Runvoy on this machine
#[derive(Parser)]
struct Cli {
    /// The `runvoy` to measure [default: the one beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    runvoy: Option<PathBuf>,
    /// Where data directories are made; on a disk, not in memory [default: beside this program]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seconds of load in each round
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Rounds, of which the middle one counts
    #[arg(long, global = true, value_name = "N", default_value_t = 3)]
    rounds: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Measure(Scenario),
    /// Serve a data directory without running anything, until standard input ends
    #[command(hide = true)]
    ServeNoop {
        /// The data directory
        data_dir: PathBuf,
        /// Policies beside the built-in ones
        #[arg(long, default_value_t = 0)]
        policies: usize,
        /// The command `true` ends at once; no other ever does
        #[arg(long)]
        runs_true: bool,
    },
    /// Write lines to standard output
    #[command(hide = true)]
    Generate(Generate),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "runvoy-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let scenario = match cli.command {
        Command::ServeNoop { data_dir, policies, runs_true } => {
            return noop::run(&data_dir, &Noop { policies, runs_true });
        }
        Command::Generate(generate) => return generate.run(),
        Command::Measure(scenario) => scenario,
    };
    let setup = Setup {
        runvoy: cli.runvoy.map_or_else(server::beside, Ok)?,
        dir: cli.dir.map_or_else(scenario::beside, Ok)?,
        time: Duration::from_secs(cli.seconds.clamp(1, 60)),
        rounds: cli.rounds.clamp(1, 20),
    };
    // One thread: what the clients take is taken from the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scenario.measure(&setup))
}
