//! `runvoy completions`: a script for a shell.

use clap::CommandFactory as _;

use super::Context;
use crate::args::{Cli, CompletionsArgs};
use crate::error::CliError;
use crate::exit;

/// The command.
pub(crate) fn completions(context: &Context, args: &CompletionsArgs) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runvoy", &mut script);
    context.printer.data(&script)?;
    Ok(exit::OK)
}
