use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use runvoy_core::id::{LockName, SecretName};

/// Run a command, stream its output, and exit with its exit code
///
/// A single CMD is handed to the shell as it is (`runvoy run 'a | b'`); several words are quoted back into one
/// line (`runvoy run echo "a b"`). What follows the first word belongs to the command. Standard input is not
/// sent.
///
/// Ctrl-C detaches: the execution goes on.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) options: RunOptions,
    #[command(flatten)]
    pub(crate) manner: RunManner,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

/// How the client goes about a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunManner {
    /// Print the execution's id and return at once
    #[arg(long)]
    pub(crate) detach: bool,
    /// Kill the execution on Ctrl-C, SIGTERM or SIGHUP, and wait for its end; a second one leaves at once
    #[arg(long, conflicts_with = "detach")]
    pub(crate) stop_on_interrupt: bool,
    /// Key under which a repeated request starts nothing new; random otherwise
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// The command of a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommandArgs {
    /// Take CMD as an argument vector and run it without a shell
    #[arg(long)]
    pub(crate) no_shell: bool,
    /// Command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// What an execution does when its lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnLockHeld {
    /// It is refused
    Fail,
    /// It waits in line
    Queue,
}

/// What a command runs with, here or on a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunOptions {
    /// Registered image to run in; the default image otherwise
    #[arg(long, short, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) image: Option<String>,
    /// Variable of the command; `-e NAME` copies the caller's. `RUNVOY_USER_<NAME>` variables are taken too
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// File of `NAME=VALUE` lines, read as `docker run` does: nothing is unquoted
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Secret that the command gets as a variable
    #[arg(long, value_name = "NAME")]
    pub(crate) secret: Vec<SecretName>,
    /// Git repository to start in, by its https:// address
    #[arg(long, short, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) git_repo: Option<String>,
    /// Its branch, tag or commit [default: main]
    #[arg(long, short = 'r', value_name = "REF", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) git_ref: Option<String>,
    /// Directory of it to start in
    #[arg(long, short = 'p', value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) git_path: Option<String>,
    /// Secret that is the token of a private repository; the command does not get it
    #[arg(long, value_name = "NAME")]
    pub(crate) git_token_secret: Option<SecretName>,
    /// Directory to start in, sent as it is now without what .gitignore and .runvoyignore name
    #[arg(long, value_name = "DIR", conflicts_with_all = ["git_repo", "git_ref", "git_path", "git_token_secret"])]
    pub(crate) upload: Option<PathBuf>,
    /// Lock to hold while the command runs: two that hold the same never run at the same time
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Option<LockName>,
    /// What to do if the lock is held [default: fail]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_lock_held: Option<OnLockHeld>,
    /// Wait in line for the lock: short for `--on-lock-held queue`
    #[arg(long, conflicts_with = "on_lock_held")]
    pub(crate) wait: bool,
    /// How long to wait in line at most [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = super::duration, allow_hyphen_values = true)]
    pub(crate) max_wait: Option<Duration>,
    /// How long the command may run, such as `90s`, `10m` or `1h30m` [default: the server's, 1h]
    #[arg(long, value_name = "DURATION", value_parser = super::duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Time between the stop signal and SIGKILL [default: the server's, 30s]
    #[arg(long, value_name = "DURATION", value_parser = super::duration, allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    /// Signal that asks the command to stop [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// CPU units, 1024 a core
    #[arg(long, value_name = "UNITS")]
    pub(crate) cpu: Option<u64>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Network to be in, one of those that the image allows [default: the first of them]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
}
