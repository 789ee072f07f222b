//! What a spec must hold beyond its format.

use std::str::FromStr as _;

use nix::sys::signal::Signal;
use runvoy_task::{CommandLine, TaskSpec};

use crate::error::AgentError;

/// Reads a spec and refuses one that could not be carried out.
pub(crate) fn parse(bytes: &[u8]) -> Result<TaskSpec, AgentError> {
    let spec = TaskSpec::from_json(bytes)?;
    stop_signal(&spec)?;
    if matches!(&spec.command, CommandLine::Args(args) if args.is_empty()) {
        return Err(AgentError::SpecValue("the argument vector is empty"));
    }
    Ok(spec)
}

/// The stop signal that the spec names.
pub(crate) fn stop_signal(spec: &TaskSpec) -> Result<Signal, AgentError> {
    Signal::from_str(&format!("SIG{}", spec.stop_signal))
        .map_err(|_| AgentError::SpecValue("unknown stop signal"))
}
