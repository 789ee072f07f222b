//! `runvoy local`: the server of this machine, and runs without one.

mod in_process;
mod place;
mod preset;
mod serve;

use tracing_subscriber::EnvFilter;

use super::{Context, no_runtime};
use crate::args::LocalCommand;
use crate::env_vars;
use crate::error::{CliError, Kind};

/// The commands.
pub(crate) fn local(context: &Context, command: &LocalCommand) -> Result<u8, CliError> {
    // While there is one thread: it may start the program again.
    let preset = if matches!(command, LocalCommand::Serve(_)) { preset::take()? } else { None };
    // The server's work must not wait for the client's, nor the other way round.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| no_runtime(&e))?;
    runtime.block_on(async {
        match command {
            LocalCommand::Serve(args) => {
                log("info");
                serve::serve(context, args, preset).await
            }
            LocalCommand::Run(args) => {
                log("off");
                in_process::run(context, args).await
            }
        }
    })
}

/// The server's own log, on stderr.
fn log(level: &str) {
    let filter = EnvFilter::builder().with_env_var(env_vars::LOG).try_from_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(level));
    // Only the first subscriber of a process counts, and there is no other.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// A failure to get the server going.
fn not_started(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CliError {
    let error = error.into();
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        what.push_str(": ");
        what.push_str(&cause.to_string());
        source = cause.source();
    }
    CliError::new(Kind::Config, what)
}
