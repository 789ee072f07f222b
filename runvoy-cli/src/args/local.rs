use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use runvoy_core::address::AddressRange;
use runvoy_core::limits;
use runvoy_core::origin::{AllowedOrigin, PublicUrl};

use super::run::{CommandArgs, RunOptions};

/// Run Runvoy on this machine, without a cloud
#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    Serve(Box<ServeArgs>),
    Run(Box<LocalRunArgs>),
    RotateMasterKey(RotateMasterKeyArgs),
}

/// Seal everything in the data directory with another master key
///
/// The server must not run. The old key is in the directory's `master.key`, or in `RUNVOY_MASTER_KEY`; the new one is made and
/// takes its place, or is in `RUNVOY_NEW_MASTER_KEY`. Whenever this is cut off, one of the two is right: start it again.
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateMasterKeyArgs {
    /// Directory for everything that is kept [default: `$XDG_DATA_HOME/runvoy`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Rotate although the audit log is not what the old key vouches for, and have the log say so
    #[arg(long)]
    pub(crate) accept_audit_problem: bool,
}

/// Serve the API on this machine
///
/// With an empty data directory it creates the first admin and writes the key into the configuration file, as
/// profile `local` (and as the default where there is none), or as `local-2` and so on where `local` holds another key.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8420")]
    pub(crate) listen: SocketAddr,
    /// Email address of the first admin
    #[arg(long, value_name = "EMAIL", default_value = "admin@localhost")]
    pub(crate) admin_email: String,
    /// Listen on an address that is not loopback although commands are processes, not kept apart from the server
    #[arg(long)]
    pub(crate) allow_unsandboxed: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Where clients reach the server, as `https://runvoy.example.com`; what each request says of it unless given
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,
    /// Origin of web pages that may use the server, as `https://app.example.com`, or `*` for any (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<AllowedOrigin>,
    /// Directory of policies (`*.cedar`) beside the built-in ones; read again when it changes and on SIGHUP
    #[arg(long, value_name = "DIR")]
    pub(crate) policies: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// How much is let in. This machine itself counts as no address.
#[derive(Args, Clone, Debug)]
pub(crate) struct LimitArgs {
    /// Requests a second with one key, ten times as many at once; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) rate_per_key: u32,
    /// Requests a second from one address, ten times as many at once; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) rate_per_address: u32,
    /// Unknown keys and claim tokens a minute from one address; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) failures_per_address: u32,
    /// Proxy whose `X-Forwarded-` headers are believed: an address or a range such as `10.0.0.0/8` (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) trusted_proxy: Vec<AddressRange>,
    /// Executions that may be live at once; 0 for any number
    #[arg(long, value_name = "N", default_value_t = limits::LIVE_EXECUTIONS)]
    pub(crate) max_live: u64,
    /// Executions of one user that may be live at once; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_live_per_user: u64,
    /// Executions that may wait for one lock, up to 1000; 0 lets nobody wait
    #[arg(long, value_name = "N", default_value_t = limits::QUEUE_DEPTH, value_parser = queue_depth)]
    pub(crate) queue_depth: usize,
    /// Longest time that a command may be allowed to run, up to `365d`
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = max_timeout)]
    pub(crate) max_timeout: Duration,
    /// Longest log of one execution, such as `500M` or `10G`; a command that writes more is killed
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = crate::size::parse)]
    pub(crate) log_limit: u64,
}

/// Longest `--max-timeout`: no command is meant to run longer, and times stay far from what a clock can tell.
const MAX_MAX_TIMEOUT: Duration = Duration::from_hours(365 * 24);

fn queue_depth(text: &str) -> Result<usize, String> {
    let within = text.parse().ok().filter(|depth| *depth <= limits::MAX_QUEUE_DEPTH);
    within.ok_or_else(|| format!("it is 0 to {}", limits::MAX_QUEUE_DEPTH))
}

fn max_timeout(text: &str) -> Result<Duration, String> {
    let within = super::duration(text)?;
    let is_within = (Duration::from_secs(1)..=MAX_MAX_TIMEOUT).contains(&within);
    if is_within { Ok(within) } else { Err("it is `1s` to `365d`".to_owned()) }
}

/// Run a command on this machine, without a server
///
/// Takes the options of `runvoy run`. The execution is stopped when this command is interrupted.
#[derive(Args, Clone, Debug)]
pub(crate) struct LocalRunArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    #[command(flatten)]
    pub(crate) command: CommandArgs,
}

/// Where state is kept and how commands run.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaceArgs {
    /// Directory for everything that is kept [default: `$XDG_DATA_HOME/runvoy`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// What runs the commands
    #[arg(long, value_name = "EXECUTOR", default_value = "auto")]
    pub(crate) executor: ExecutorChoice,
    /// Image that an empty registry begins with, as the default one, where commands run in containers
    #[arg(long, value_name = "IMAGE", default_value = "debian:stable-slim")]
    pub(crate) default_image: String,
    /// Run commands as processes of this user, which only root can; the supervisor of a command stays root
    #[arg(long, value_name = "USER")]
    pub(crate) run_as: Option<String>,
    /// Variable of this environment that every command gets; without it they get PATH, HOME, USER, LOGNAME, SHELL,
    /// LANG, LC_*, TZ and TMPDIR (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) pass_env: Vec<String>,
}

/// What runs commands on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecutorChoice {
    /// Containers where a Docker engine answers, else processes
    Auto,
    /// Containers of the Docker engine that `DOCKER_HOST` names, else of the one at the usual place
    Docker,
    /// Processes of this machine
    Process,
}
