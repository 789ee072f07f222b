use std::time::Duration;

use clap::{Args, Subcommand};
use runvoy_core::id::{IdPrefix, LockName, RequestId};
use runvoy_core::limits;
use runvoy_core::state::Status;

use super::{OutputArgs, OutputFormat};

/// Print an execution's output, or follow it until it ends
///
/// What the command wrote to stdout comes on stdout, what it wrote to stderr on stderr, byte for byte. With
/// `--follow` it exits as the command did; without, a live execution's output so far is printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArgs {
    /// Execution: its id, or the first 6 or more characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    /// Follow until the execution ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin every line with its time (UTC)
    #[arg(long, conflicts_with = "output")]
    pub(crate) timestamps: bool,
    /// Begin with the last N lines
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Leave out what is older: a time (`2026-01-05T10:00:00Z`) or a length of time before now (`10m`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Format of the output; `json` is an array of log events, with --follow one event a line
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<LogFormat>,
}

/// Formats of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// The command's bytes
    Text,
    /// The API's log events
    Json,
}

/// Show an execution's record
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// Execution: its id, or the first 6 or more characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Say why an execution waits, was denied, failed or was slow, and what to do about it
#[derive(Args, Clone, Debug)]
pub(crate) struct WhyArgs {
    /// Execution: its id, or the first 6 or more characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// List executions, newest first
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    pub(crate) limit: u32,
    /// Every one there is
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Only these statuses, such as `RUNNING,STARTING`
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub(crate) status: Vec<Status>,
    /// Only this user's
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user: Option<String>,
    /// Only those that want, hold or held this lock
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Option<LockName>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn limit(text: &str) -> Result<u32, String> {
    let page = 1..=u32::try_from(limits::PAGE).unwrap_or(u32::MAX);
    let within = text.parse().ok().filter(|number| page.contains(number));
    within.ok_or_else(|| format!("it is 1 to {}, and `--all` shows every one", page.end()))
}

fn status(text: &str) -> Result<Status, String> {
    text.trim().to_uppercase().parse().map_err(|_| {
        let names: Vec<_> = Status::ALL.into_iter().map(Status::as_str).collect();
        format!("a status is one of {}", names.join(", "))
    })
}

/// Stop an execution, and wait until it is stopped
#[derive(Args, Clone, Debug)]
pub(crate) struct KillArgs {
    /// Execution: its id, or the first 6 or more characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    /// Time between the stop signal and SIGKILL [default: the run's own]
    #[arg(long, value_name = "DURATION", value_parser = super::duration, allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    /// Return once the server has agreed to stop it
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Wait for an execution's end, and exit with its exit code
#[derive(Args, Clone, Debug)]
pub(crate) struct WaitArgs {
    /// Execution: its id, or the first 6 or more characters of it
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    /// Give up after this time, with exit code 75
    #[arg(long, value_name = "DURATION", value_parser = super::duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Print the record when it has ended: `json` is the API's own shape
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<OutputFormat>,
}

/// Ask the server whether it is well
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HealthArgs {
    #[command(subcommand)]
    pub(crate) command: Option<HealthCommand>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What else it can be asked.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum HealthCommand {
    Reconcile(ReconcileArgs),
}

/// Have the server mend what was left half done, and show what was amiss
///
/// It does so by itself every few seconds. Exits with 75 if something could not be mended yet.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReconcileArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show what the server's own log says of a request, and what the request was about
///
/// An answer names its request in the header `X-Request-Id`, which `--debug` shows.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TraceArgs {
    /// Request
    #[arg(value_name = "REQUEST_ID")]
    pub(crate) request: RequestId,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show whom the API key belongs to
#[derive(Args, Clone, Debug)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
