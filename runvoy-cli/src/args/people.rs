use std::time::Duration;

use clap::{Args, Subcommand};
use runvoy_core::id::{Email, Role};

use super::{OutputArgs, duration};

/// Show people; give them keys and take keys back
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List everybody
    List(UsersListArgs),
    /// Make somebody known and print the claim token that fetches their key
    Create(UsersCreateArgs),
    /// Take somebody's key back; it stops working at once
    Revoke(UsersRevokeArgs),
    /// Replace somebody's key: the old one stops working at once
    Rotate(UsersRotateArgs),
}

/// List everybody
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct UsersListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Make somebody known and print the claim token that fetches their key
#[derive(Args, Clone, Debug)]
pub(crate) struct UsersCreateArgs {
    /// Email address
    #[arg(value_name = "EMAIL")]
    pub(crate) email: Email,
    /// What they may do: `admin`, `operator`, `developer` or `viewer`
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Role,
    /// How long the key is good, such as `90d`; for ever unless given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Take somebody's key back; it stops working at once
#[derive(Args, Clone, Debug)]
pub(crate) struct UsersRevokeArgs {
    /// Email address
    #[arg(value_name = "EMAIL")]
    pub(crate) email: Email,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Replace somebody's key: the old one stops working at once
#[derive(Args, Clone, Debug)]
pub(crate) struct UsersRotateArgs {
    /// Email address
    #[arg(value_name = "EMAIL")]
    pub(crate) email: Email,
    /// How long the new key is good; as long as the old one unless given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Fetch your API key with a claim token and write it into the configuration file
///
/// Writes the profile that `--profile` names, else the default one. A token works once, within 15 minutes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClaimArgs {
    /// Claim token; `-` reads it from standard input, so that it stands in no shell history
    #[arg(value_name = "TOKEN")]
    pub(crate) token: String,
    /// Replace a key that still works
    #[arg(long)]
    pub(crate) force: bool,
}
