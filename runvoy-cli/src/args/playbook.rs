use clap::{Args, Subcommand};
use runvoy_core::id::PlaybookName;

use super::OutputArgs;
use super::run::{RunManner, RunOptions};

/// Run what is written down in `.runvoy/NAME.yaml`, here or in the home directory
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PlaybookCommand {
    /// List the playbooks there are
    List(PlaybookListArgs),
    /// Show one, as it would be run
    Show(PlaybookShowArgs),
    /// Run one; options override what it says
    ///
    /// `--secret` adds to its secrets, and variables are taken one by one: later wins, the playbook's, `--env-file`,
    /// `RUNVOY_USER_*`, `-e`.
    Run(Box<PlaybookRunArgs>),
}

/// List the playbooks there are
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PlaybookListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show one, as it would be run
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaybookShowArgs {
    /// Playbook
    #[arg(value_name = "NAME")]
    pub(crate) name: PlaybookName,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Run one; options override what it says
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaybookRunArgs {
    /// Playbook
    #[arg(value_name = "NAME")]
    pub(crate) name: PlaybookName,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    #[command(flatten)]
    pub(crate) manner: RunManner,
}
