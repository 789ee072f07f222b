//! The `runvoy` command: data on stdout, everything else on stderr, exit codes that scripts can rely on.

#[cfg(all(feature = "local", target_os = "linux"))]
mod agent;
mod args;
mod client;
mod commands;
mod config;
mod duration;
mod env_vars;
mod error;
mod exit;
mod outcome;
mod output;
mod playbook;
mod printer;
mod progress;
mod quote;
mod settings;
mod signals;
#[cfg(all(feature = "local", target_os = "linux"))]
mod size;
mod table;
mod time;
mod upload;
mod usage;
mod variables;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::printer::Printer;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(wanted) => return printer::help(&wanted),
    };
    let printer = Printer::new(&cli.global);
    let code = commands::dispatch(cli, printer).unwrap_or_else(|error| {
        printer.error(&error);
        error.kind.code()
    });
    ExitCode::from(code)
}
