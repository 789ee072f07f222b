//! Both outputs of the command, and the log that they share.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use runvoy_task::EndReason;
use runvoy_task::block::{Stream, Tail};

use crate::clock;
use crate::command::Started;
use crate::control::Control;
use crate::mask::Patterns;
use crate::sink::Sink;
use crate::source::Source;

/// Everything that the command says.
pub(crate) struct Output {
    sink: Sink,
    sources: [Source; 2],
    /// Why the log cannot be written any more.
    broken: Option<io::Error>,
}

impl Output {
    /// Takes over the pipes of a started command.
    pub(crate) fn new(sink: Sink, started: &mut Started, patterns: &Patterns) -> io::Result<Self> {
        let [stdout, stderr] = started.take_outputs()?;
        let stdout = Source::new(stdout, Stream::Stdout, patterns.masker());
        let stderr = Source::new(stderr, Stream::Stderr, patterns.masker());
        Ok(Self { sink, sources: [stdout, stderr], broken: None })
    }

    /// Stores a line of the agent's own, as if the command had said it on standard error.
    pub(crate) fn remark(&mut self, line: &str, control: &mut Control) {
        let line = [line.as_bytes(), &[]];
        if let Err(error) = self.sink.append(line, Stream::Stderr, Tail::Newline, clock::now_ms(), control) {
            self.broken.get_or_insert(error);
        }
    }

    /// What to poll.
    pub(crate) fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        self.sources.each_ref().map(Source::fd)
    }

    /// When [`Self::pump`] has something to do, if no output comes first.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.sources.iter().filter_map(Source::due).min()
    }

    /// Reads each output that is ready, once, and shows unfinished lines that are due.
    pub(crate) fn pump(&mut self, ready: [bool; 2], control: &mut Control) {
        for (source, ready) in self.sources.iter_mut().zip(ready) {
            let read = if ready { source.pump(&mut self.sink, control).map(drop) } else { Ok(()) };
            let stored = read.and_then(|()| source.flush_due(&mut self.sink, control));
            if let Err(error) = stored {
                self.broken.get_or_insert(error);
            }
        }
        self.check(control);
    }

    /// Stores the rest of both outputs, once nobody is left to write.
    pub(crate) fn drain(&mut self, control: &mut Control) {
        for source in &mut self.sources {
            if let Err(error) = source.drain(&mut self.sink, control) {
                self.broken.get_or_insert(error);
            }
        }
        self.check(control);
    }

    /// The log, runs replaced, and why it broke.
    pub(crate) fn into_parts(self) -> (Sink, u64, Option<io::Error>) {
        let replacements = self.sources.iter().map(Source::replacements).sum();
        (self.sink, replacements, self.broken)
    }

    /// A log that takes nothing more ends the task.
    fn check(&mut self, control: &mut Control) {
        if self.sink.is_full() {
            control.end_now(EndReason::LogLimit, None);
        }
        if let Some(error) = &self.broken {
            control.end_now(EndReason::Lost, Some(format!("the log could not be written: {error}")));
        }
    }
}
