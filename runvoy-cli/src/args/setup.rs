use clap::{Args, ValueEnum};

use super::OutputArgs;

/// Write the configuration file; ask for what is missing, on a terminal
///
/// Writes the profile that `--profile` names, else the default one. The file is `~/.runvoy/config.yaml` and
/// only its owner can read it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigureArgs {
    /// Server, such as `https://runvoy.example.com`
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// API key; `-` reads it from standard input, so that it stands in no shell history
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Web page of the server, where it is not the server itself
    #[arg(long, value_name = "URL")]
    pub(crate) web_url: Option<String>,
    /// Replace a key that still works, or is for another server
    #[arg(long)]
    pub(crate) force: bool,
}

/// Print a completion script for a shell
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the version
#[derive(Args, Clone, Debug)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Print the reference of every command
#[derive(Args, Clone, Debug)]
pub(crate) struct DocsArgs {
    /// Format of the reference
    #[arg(long, value_name = "FORMAT", default_value = "man")]
    pub(crate) format: DocsFormat,
}

/// Formats of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocsFormat {
    /// Man page
    Man,
    /// Markdown
    Markdown,
}
