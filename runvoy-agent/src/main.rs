//! The supervisor that runs every command of Runvoy.
//!
//! `supervise DIR` is the keeper, the entry for others; `init`, `checkout` and `exec` are the stages that it starts by
//! executing itself again. `contain DIR` is the first process of a container, keeper and supervisor in one; `probe DIR`
//! answers whether a container has our files before it. See the README for who does what.

mod claim;
mod clock;
mod command;
mod container;
mod control;
mod cut;
mod dotenv;
mod end;
mod error;
mod exec;
mod identity;
mod keeper;
mod mask;
mod memory;
mod namespace;
mod output;
mod process;
mod recover;
mod signals;
mod sink;
mod source;
mod spec;
mod stage;
mod supervisor;
mod tree;
mod user;
mod wait;
mod workspace;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::error::AgentError;

/// Exit code of an agent whose command never ran, or whose supervision was lost.
const NOT_RUN: u8 = runvoy_task::EndRecord::NOT_RUN;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let outcome = match args.as_slice() {
        [verb, dir] if *verb == "supervise" => keeper::run(Path::new(dir)),
        [verb, dir] if *verb == "contain" => container::run(Path::new(dir)),
        [verb, dir] if *verb == "probe" => container::probe(Path::new(dir)),
        [verb, dir] if *verb == "init" => supervisor::run(Path::new(dir)),
        [verb] if *verb == "checkout" => Ok(workspace::run()),
        [verb] if *verb == "exec" => Ok(exec::run()),
        [verb] if *verb == "--version" => version(),
        _ => Err(AgentError::Usage),
    };
    outcome.unwrap_or_else(|error| {
        say(&error);
        ExitCode::from(NOT_RUN)
    })
}

fn version() -> Result<ExitCode, AgentError> {
    writeln!(std::io::stdout(), "runvoy-agent {}", env!("CARGO_PKG_VERSION"))
        .map_err(AgentError::io("writing the version"))?;
    Ok(ExitCode::SUCCESS)
}

/// Tells an error and its causes to whoever started the agent. A closed standard error is nobody's problem.
fn say(error: &dyn std::error::Error) {
    let mut text = format!("runvoy-agent: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.extend([": ", &cause.to_string()]);
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
