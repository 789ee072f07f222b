//! The one place that prints: data to stdout, everything else to stderr.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{ColorWhen, GlobalArgs};
use crate::error::{CliError, Kind};
use crate::exit;

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

    /// One line that moves while something starts, on a terminal only. Gone when dropped.
    pub(crate) fn progress(self, text: &str) -> Progress {
        if self.quiet || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(Some(bar))
    }

    fn stderr(self, text: &str) {
        // There is nobody left to tell when stderr itself is gone.
        let _ = AutoStream::new(io::stderr().lock(), self.color).write_all(text.as_bytes());
    }
}

/// The status line.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows something else.
    pub(crate) fn set(&self, text: &str) {
        self.0.iter().for_each(|bar| bar.set_message(text.to_owned()));
    }

    /// Wipes the line, before anything else is printed.
    pub(crate) fn clear(&mut self) {
        self.0.take().iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Help on stdout, or what is wrong with the arguments on stderr.
pub(crate) fn help(wanted: &clap::Error) -> ExitCode {
    let closed = wanted.print().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
    ExitCode::from(match (wanted.use_stderr(), closed) {
        (true, _) => exit::USAGE,
        (false, true) => exit::PIPE_CLOSED,
        (false, false) => exit::OK,
    })
}

/// The failure of a write to stdout.
pub(crate) fn output_error(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::pipe_closed()
    } else {
        CliError::new(Kind::NotRun, format!("cannot write to standard output: {error}"))
    }
}
