use clap::{Args, Subcommand};
use runvoy_core::id::LockName;

use super::OutputArgs;

/// Show locks, who holds them and who waits; take one from its holder
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LocksCommand {
    /// List every lock that is held or waited for
    List(LocksListArgs),
    /// Show one lock and the line of those who wait
    Show(LocksShowArgs),
    /// Take a lock from its holder, who is stopped first
    Release(LocksReleaseArgs),
}

/// List every lock that is held or waited for
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LocksListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show one lock and the line of those who wait
#[derive(Args, Clone, Debug)]
pub(crate) struct LocksShowArgs {
    /// Lock
    #[arg(value_name = "NAME")]
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Take a lock from its holder, who is stopped first
#[derive(Args, Clone, Debug)]
pub(crate) struct LocksReleaseArgs {
    /// Lock
    #[arg(value_name = "NAME")]
    pub(crate) name: LockName,
    /// Say that you mean it
    #[arg(long, required = true)]
    pub(crate) force: bool,
    /// Free it at once, although its holder may still run
    #[arg(long)]
    pub(crate) abandon: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
