use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{OutputArgs, OutputFormat};

/// Read the audit log, oldest first, or check it
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// Only what this user did or was denied
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user: Option<String>,
    /// Leave out what is older: a time (`2026-01-05T10:00:00Z`) or a length of time before now (`1h`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only this action, such as `run` or `read_logs`
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Format of the output; `json` is JSON lines: one record a line, and no array around them
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: LinesFormat,
}

/// Formats of records of which there may be very many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinesFormat {
    /// For people
    Table,
    /// JSON lines: one JSON object a line
    Json,
}

/// What else there is to do with it.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Head(AuditHeadArgs),
    Verify(AuditVerifyArgs),
}

/// Anchor the log (at most once a minute), and print its end as one JSON object: keep it where nobody can reach who can reach the server
#[derive(Args, Clone, Debug)]
pub(crate) struct AuditHeadArgs {
    /// Format of the output; `audit verify --head` reads `json`
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub(crate) output: OutputFormat,
}

/// Check that nothing in the log was changed, dropped, reordered or inserted; if something was, exit with 65
#[derive(Args, Clone, Debug)]
pub(crate) struct AuditVerifyArgs {
    /// Compare with what `audit head` printed at an earlier time
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
