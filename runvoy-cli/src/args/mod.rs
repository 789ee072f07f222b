//! Arguments, as clap reads them. Doc comments here are the help text.

mod audit;
mod images;
#[cfg(all(feature = "local", target_os = "linux"))]
mod local;
mod locks;
mod people;
mod playbook;
mod policies;
mod records;
mod run;
mod secrets;
mod setup;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use audit::{AuditArgs, AuditCommand, AuditHeadArgs, AuditVerifyArgs, LinesFormat};
pub(crate) use images::{
    ImagesCommand, ImagesListArgs, ImagesRegisterArgs, ImagesShowArgs, ImagesUnregisterArgs,
    ImagesUpdateArgs, MannerArgs,
};
#[cfg(all(feature = "local", target_os = "linux"))]
pub(crate) use local::{
    ExecutorChoice, LimitArgs, LocalCommand, LocalRunArgs, PlaceArgs, RotateMasterKeyArgs, ServeArgs,
};
pub(crate) use locks::{LocksCommand, LocksListArgs, LocksReleaseArgs, LocksShowArgs};
pub(crate) use people::{
    ClaimArgs, UsersCommand, UsersCreateArgs, UsersListArgs, UsersRevokeArgs, UsersRotateArgs,
};
pub(crate) use playbook::{PlaybookCommand, PlaybookListArgs, PlaybookRunArgs, PlaybookShowArgs};
#[cfg(all(feature = "local", target_os = "linux"))]
pub(crate) use policies::PoliciesCheckArgs;
pub(crate) use policies::{CanIArgs, PoliciesCommand, PoliciesExplainArgs, PoliciesListArgs};
pub(crate) use records::{
    HealthArgs, HealthCommand, KillArgs, ListArgs, LogFormat, LogsArgs, ReconcileArgs, StatusArgs, TraceArgs,
    WaitArgs, WhoamiArgs, WhyArgs,
};
pub(crate) use run::{CommandArgs, OnLockHeld, RunArgs, RunManner, RunOptions};
pub(crate) use secrets::{
    SecretsCommand, SecretsCreateArgs, SecretsDeleteArgs, SecretsGetArgs, SecretsListArgs, SecretsUpdateArgs,
    ValueArgs,
};
pub(crate) use setup::{CompletionsArgs, ConfigureArgs, DocsArgs, DocsFormat, VersionArgs};

/// Run commands in ephemeral containers, without holding anybody's cloud credentials.
#[derive(Debug, Parser)]
#[command(name = "runvoy", version, disable_help_subcommand = true, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Profile of the configuration file [env: `RUNVOY_PROFILE`]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Print only data and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Show the causes of an error and the request id
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorWhen,
    /// Allow `http` to an address that is not loopback: the API key travels in the clear
    #[arg(long, global = true)]
    pub(crate) insecure_http: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a command that shows records prints them.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArgs {
    /// Format of the output; `json` is the API's own shape
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

impl OutputArgs {
    /// Whether JSON is wanted.
    pub(crate) fn json(self) -> bool {
        self.output == OutputFormat::Json
    }
}

/// Formats of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// One JSON document
    Json,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunArgs>),
    Logs(LogsArgs),
    Status(StatusArgs),
    Why(WhyArgs),
    List(ListArgs),
    Kill(KillArgs),
    #[command(subcommand)]
    Locks(LocksCommand),
    #[command(subcommand)]
    Images(Box<ImagesCommand>),
    #[command(subcommand)]
    Secrets(Box<SecretsCommand>),
    #[command(subcommand)]
    Users(UsersCommand),
    Claim(ClaimArgs),
    Wait(WaitArgs),
    #[command(subcommand)]
    Playbook(Box<PlaybookCommand>),
    Health(HealthArgs),
    Whoami(WhoamiArgs),
    Audit(AuditArgs),
    Trace(TraceArgs),
    CanI(Box<CanIArgs>),
    #[command(subcommand)]
    Policies(PoliciesCommand),
    Configure(ConfigureArgs),
    #[cfg(all(feature = "local", target_os = "linux"))]
    #[command(subcommand)]
    Local(LocalCommand),
    Completions(CompletionsArgs),
    Version(VersionArgs),
    Docs(DocsArgs),
}

/// A length of time, for clap.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::duration::parse(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let cli = Cli::try_parse_from(["runvoy", "run"].iter().chain(args))?;
        match cli.command {
            Command::Run(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_first_word_is_the_commands() {
        assert_eq!(run(&["ls", "-la"]).unwrap().command.words, ["ls", "-la"]);
        assert_eq!(
            run(&["-e", "A=1", "ls", "--quiet", "-e", "B"]).unwrap().command.words,
            ["ls", "--quiet", "-e", "B"]
        );
        assert_eq!(run(&["--detach", "--", "-x", "--help"]).unwrap().command.words, ["-x", "--help"]);
        assert_eq!(run(&["ls", "--", "x"]).unwrap().command.words, ["ls", "--", "x"]);
        assert!(run(&["--bogus", "ls"]).is_err());
        assert!(run(&[]).is_err());
    }

    #[test]
    fn an_execution_is_named_by_hex_digits() {
        assert!(Cli::try_parse_from(["runvoy", "status", "abcdef"]).is_ok());
        assert!(Cli::try_parse_from(["runvoy", "status", "../me"]).is_err());
    }
}
