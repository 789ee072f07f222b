//! The one place that prints: data to stdout, everything else to stderr.

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::error::ErrorKind;

use crate::args::{ColorWhen, GlobalArgs};
use crate::error::{CliError, Kind};
use crate::progress::{Progress, Wanted};
use crate::{exit, usage};

/// Prints; honours `--quiet`, `--debug`, `--color` and `NO_COLOR`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    quiet: bool,
    debug: bool,
    color: ColorChoice,
}

impl Printer {
    /// A printer as the global options want it.
    pub(crate) fn new(args: &GlobalArgs) -> Self {
        let color = match args.color {
            ColorWhen::Auto => AutoStream::choice(&io::stderr()),
            ColorWhen::Always => ColorChoice::Always,
            ColorWhen::Never => ColorChoice::Never,
        };
        Self { quiet: args.quiet, debug: args.debug, color }
    }

    /// Data, as it is.
    #[expect(clippy::unused_self, reason = "whoever prints has a printer")]
    pub(crate) fn data(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| output_error(&e))
    }

    /// Data and a newline.
    pub(crate) fn data_line(self, text: &str) -> Result<(), CliError> {
        self.data(format!("{text}\n").as_bytes())
    }

    /// What the caller must know although the output could not be written: part of the failure, or, where a closed pipe
    /// is the failure, a line of its own.
    pub(crate) fn unwritten(self, error: CliError, what: &str) -> CliError {
        if error.kind == Kind::PipeClosed {
            self.verdict(&format!("runvoy: {what}"));
            return error;
        }
        error.hint(what)
    }

    /// Something worth knowing; silent with `--quiet`.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.stderr(&format!("{text}\n"));
        }
    }

    /// Why the exit code is not the command's; not even `--quiet` hides it.
    pub(crate) fn verdict(self, text: &str) {
        self.stderr(&format!("{text}\n"));
    }

    /// Something that may be wrong; silent with `--quiet`.
    pub(crate) fn warn(self, text: &str) {
        self.note(&format!("\x1b[33mwarning:\x1b[0m {text}"));
    }

    /// A failure, on one line; with `--debug` its causes too.
    pub(crate) fn error(self, error: &CliError) {
        if error.kind == Kind::PipeClosed {
            return;
        }
        let mut text = String::new();
        if self.debug {
            for line in error.details() {
                text.push_str(&line);
                text.push('\n');
            }
        }
        self.stderr(&format!("{text}\x1b[31merror:\x1b[0m {error}\n"));
    }

    /// One line that moves while something starts, on a terminal only.
    pub(crate) fn progress(self, text: &str) -> Progress {
        Progress::new(text, if self.quiet { Wanted::No } else { Wanted::Yes })
    }

    fn stderr(self, text: &str) {
        // There is nobody left to tell when stderr itself is gone.
        let _ = AutoStream::new(io::stderr().lock(), self.color).write_all(text.as_bytes());
    }
}

/// Help on stdout, or what is wrong with the arguments on stderr.
pub(crate) fn help(wanted: &clap::Error) -> ExitCode {
    // Nothing was read yet of how to print.
    let printer = Printer { quiet: false, debug: false, color: AutoStream::choice(&io::stderr()) };
    let is_help =
        !wanted.use_stderr() || wanted.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let error = if is_help {
        match wanted.print().and_then(|()| io::stdout().flush()) {
            Ok(()) if wanted.use_stderr() => return ExitCode::from(exit::USAGE),
            Ok(()) => return ExitCode::from(exit::OK),
            Err(error) => output_error(&error),
        }
    } else {
        usage::failure(wanted, std::env::args_os())
    };
    printer.error(&error);
    ExitCode::from(error.kind.code())
}

/// The failure of a write to stdout.
pub(crate) fn output_error(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::pipe_closed()
    } else {
        CliError::new(Kind::NotRun, format!("cannot write to standard output: {error}"))
    }
}
