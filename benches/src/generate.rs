//! A command that writes lines, as fast as it can or at a pace.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::Result;

/// Bytes of a line, its newline included.
pub(crate) const LINE_BYTES: usize = 100;
/// Lines of a bulk write: just under 64 KiB.
const BULK_LINES: usize = 655;
/// At a pace, lines are written this often.
const BEAT: Duration = Duration::from_millis(10);

/// How lines reach the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writes {
    /// 64 KiB at once, as programs do that write to a pipe.
    Bulk,
    /// Each line by itself, as programs do that flush.
    Lines,
}

/// What to write.
#[derive(Args, Clone, Debug)]
pub(crate) struct Generate {
    /// Lines, of 100 bytes each
    pub(crate) count: usize,
    /// How they are written
    pub(crate) writes: Writes,
    /// Lines a second; as fast as it goes unless given
    #[arg(long)]
    pub(crate) pace: Option<usize>,
    /// Milliseconds to wait first, for followers to come
    #[arg(long, default_value_t = 0)]
    pub(crate) delay: u64,
    /// Where to say how long it took
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
}

impl Generate {
    /// So many lines at once, as fast as it goes.
    pub(crate) fn new(count: usize, writes: Writes) -> Self {
        Self { count, writes, pace: None, delay: 0, report: None }
    }

    /// The words that start it.
    pub(crate) fn command(&self) -> Result<Vec<String>> {
        let exe = std::env::current_exe()?;
        let writes = if self.writes == Writes::Bulk { "bulk" } else { "lines" };
        let mut words = vec![exe.display().to_string(), "generate".to_owned()];
        words.extend([self.count.to_string(), writes.to_owned()]);
        words.extend(["--delay".to_owned(), self.delay.to_string()]);
        if let Some(pace) = self.pace {
            words.extend(["--pace".to_owned(), pace.to_string()]);
        }
        if let Some(report) = &self.report {
            words.extend(["--report".to_owned(), report.display().to_string()]);
        }
        Ok(words)
    }

    pub(crate) fn run(&self) -> Result<()> {
        // Not `Stdout`, which looks for newlines.
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let mut line = b"2026-01-31T12:00:00.000Z INFO module.network.aws_subnet: still creating".to_vec();
        line.resize(LINE_BYTES - 1, b'.');
        line.push(b'\n');
        let at_once = if self.writes == Writes::Bulk { BULK_LINES } else { 1 };
        let block = line.repeat(at_once);
        std::thread::sleep(Duration::from_millis(self.delay));
        let begun = Instant::now();
        let mut written = 0;
        while written < self.count {
            let due = self.pace.map_or(self.count, |pace| due(pace, begun.elapsed()).min(self.count));
            while written < due {
                let lines = at_once.min(due - written);
                output.write_all(block.get(..lines * LINE_BYTES).unwrap_or_default())?;
                written += lines;
            }
            if written < self.count {
                std::thread::sleep(BEAT);
            }
        }
        self.report.as_deref().map_or(Ok(()), |path| report(path, begun.elapsed()))
    }
}

/// Lines that should be there after some time.
fn due(pace: usize, elapsed: Duration) -> usize {
    usize::try_from(elapsed.as_micros() * pace as u128 / 1_000_000).unwrap_or(usize::MAX)
}

fn report(path: &Path, elapsed: Duration) -> Result<()> {
    // Whole or not at all.
    let part = path.with_extension("part");
    fs::write(&part, elapsed.as_micros().to_string())?;
    Ok(fs::rename(part, path)?)
}

/// What a generator reported.
pub(crate) fn elapsed(report: &Path) -> Result<Duration> {
    Ok(Duration::from_micros(fs::read_to_string(report)?.parse()?))
}
