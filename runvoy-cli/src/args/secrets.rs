use std::path::PathBuf;

use clap::{Args, Subcommand};
use runvoy_core::id::SecretName;

use super::OutputArgs;

/// Keep values that commands get and logs do not show
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Keep a value, from a prompt, standard input or a file
    Create(SecretsCreateArgs),
    /// List the secrets that you may read, never their values
    List(SecretsListArgs),
    /// Show a secret; its value only with `--reveal`
    #[command(visible_alias = "show")]
    Get(SecretsGetArgs),
    /// Change a secret; what is not named stays
    Update(SecretsUpdateArgs),
    /// Delete a secret; commands that have it keep it
    Delete(SecretsDeleteArgs),
}

/// Keep a value, from a prompt, standard input or a file
///
/// On a terminal the value is asked for and not shown. It is yours: you, operators and admins may read and change it.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretsCreateArgs {
    /// Secret
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,
    /// Variable that carries it in a command's environment
    #[arg(value_name = "KEY_NAME")]
    pub(crate) key_name: String,
    /// Value. Anybody on this machine can read it here, and shells remember it: better leave it out
    #[arg(value_name = "VALUE", conflicts_with_all = ["value", "value_file"], hide = true)]
    pub(crate) argument: Option<String>,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Where a value comes from.
#[derive(Args, Clone, Debug)]
pub(crate) struct ValueArgs {
    /// `-` reads the value from standard input, without the newline at its end
    #[arg(long, value_name = "-", conflicts_with = "value_file")]
    pub(crate) value: Option<String>,
    /// File that holds the value, byte for byte
    #[arg(long, value_name = "FILE")]
    pub(crate) value_file: Option<PathBuf>,
}

/// List the secrets that you may read, never their values
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct SecretsListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Show a secret; its value only with `--reveal`
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretsGetArgs {
    /// Secret
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,
    /// Print the value, and nothing else; that is recorded
    #[arg(long)]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Change a secret; what is not named stays
///
/// Without any option a new value is asked for. Who waits for a lock gets the value of the time when it starts.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretsUpdateArgs {
    /// Secret
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,
    /// Variable that carries it in a command's environment
    #[arg(long, value_name = "KEY_NAME")]
    pub(crate) key_name: Option<String>,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Delete a secret; commands that have it keep it
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretsDeleteArgs {
    /// Secret
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
