//! `runvoy local`: the server of this machine, and runs without one.

mod in_process;
mod place;
mod preset;
mod rotate;
mod serve;

use std::io::IsTerminal as _;

use runvoy_local::ServerLog;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use preset::Start;

use super::{Context, no_runtime};
use crate::args::LocalCommand;
use crate::env_vars;
use crate::error::{CliError, Kind};

/// The commands.
pub(crate) fn local(context: &Context, command: &LocalCommand) -> Result<u8, CliError> {
    preset::keep_memory()?;
    // What was preset is taken while there is one thread: that may start the program again.
    match command {
        LocalCommand::Serve(args) => {
            let preset = preset::take(Start::Serve)?;
            block_on(serve::serve(context, args, preset))
        }
        LocalCommand::Run(args) => {
            let preset = preset::take(Start::Run)?;
            log("off", None);
            block_on(in_process::run(context, args, preset))
        }
        LocalCommand::RotateMasterKey(args) => rotate::rotate(context, args, preset::take(Start::Rotation)?),
    }
}

/// The server's work must not wait for the client's, nor the other way round.
fn block_on(work: impl Future<Output = Result<u8, CliError>>) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| no_runtime(&e))?.block_on(work)
}

/// The server's own log, on stderr, and in its data directory where that is wanted.
fn log(level: &str, file: Option<&ServerLog>) {
    let filter = EnvFilter::builder().with_env_var(env_vars::LOG).try_from_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(level));
    // Only the first subscriber of a process counts, and there is no other.
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os(env_vars::NO_COLOR).is_none();
    let stderr = tracing_subscriber::fmt::layer().with_ansi(is_coloured).with_writer(std::io::stderr);
    let stderr = stderr.with_filter(filter);
    let _ = tracing_subscriber::registry().with(stderr).with(file.map(ServerLog::layer)).try_init();
}

/// A failure to get the server going.
fn not_started(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CliError {
    let error = error.into();
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Some errors repeat their cause.
        if !what.contains(&words) {
            what.push_str(": ");
            what.push_str(&words);
        }
        source = cause.source();
    }
    CliError::new(Kind::Config, what)
}
