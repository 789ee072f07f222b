#[cfg(all(feature = "local", target_os = "linux"))]
use std::path::PathBuf;

use clap::{Args, Subcommand};
use runvoy_core::id::RequestId;
use runvoy_core::port::Action;

use super::OutputArgs;

/// Ask whether you may do something, without doing it; if not, exit with 77
///
/// The server decides as it would decide the real thing, and names the policy that decided. `can-i run` alone asks
/// whether you may run anything; with options, whether you may run just that.
#[derive(Args, Clone, Debug)]
pub(crate) struct CanIArgs {
    /// Action, such as `run`, `use_lock` or `kill_execution`
    #[arg(value_name = "ACTION", value_parser = action)]
    pub(crate) action: Action,
    /// What it is done to: `execution:ID`, `user:EMAIL`, `lock:NAME`, `image:REF` or `secret:NAME`
    #[arg(value_name = "RESOURCE")]
    pub(crate) resource: Option<String>,
    /// Command, as you would write it in a shell
    #[arg(long, value_name = "CMD")]
    pub(crate) command: Option<String>,
    /// Image that it runs in
    #[arg(long, short, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Lock that it holds
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Option<String>,
    /// Secret that it gets (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) secret: Vec<String>,
    /// Git repository that it runs on
    #[arg(long, short, value_name = "URL")]
    pub(crate) git_repo: Option<String>,
    /// As if you asked from this address
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<String>,
    /// As if it were this hour, 0 to 23, in UTC
    #[arg(long, value_name = "HOUR")]
    pub(crate) hour: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn action(text: &str) -> Result<Action, String> {
    text.parse().map_err(|_| format!("an action is one of {}", Action::ALL.map(Action::as_str).join(", ")))
}

/// Show the policies in force, check some before they are, and explain a decision
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PoliciesCommand {
    List(PoliciesListArgs),
    #[cfg(all(feature = "local", target_os = "linux"))]
    Check(PoliciesCheckArgs),
    Explain(PoliciesExplainArgs),
}

/// List the policies that are in force
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PoliciesListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Find out whether a server would take the policies of a directory; if not, say where and why, and exit with 65
///
/// Needs no server: it is the check that the server itself makes.
#[cfg(all(feature = "local", target_os = "linux"))]
#[derive(Args, Clone, Debug)]
pub(crate) struct PoliciesCheckArgs {
    /// Directory of `*.cedar` files
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show what was decided in a request, and the policies that decided it
///
/// An answer names its request in the header `X-Request-Id`, which `--debug` shows.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PoliciesExplainArgs {
    /// Request
    #[arg(value_name = "REQUEST_ID")]
    pub(crate) request: RequestId,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
