//! Both outputs of a stage's process, and the log that they share.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use runvoy_task::EndReason;
use runvoy_task::block::{Stream, Tail};

use crate::clock;
use crate::control::Control;
use crate::source::Source;
use crate::stage::Log;

/// Everything that the process says.
pub(crate) struct Output {
    log: Log,
    sources: [Source; 2],
}

impl Output {
    /// Takes over the pipes of a started process.
    pub(crate) fn new(log: Log, [stdout, stderr]: [OwnedFd; 2]) -> Self {
        let stdout = Source::new(stdout, Stream::Stdout, log.patterns.masker());
        let stderr = Source::new(stderr, Stream::Stderr, log.patterns.masker());
        Self { log, sources: [stdout, stderr] }
    }

    /// Stores a line of the agent's own, as if the command had said it on standard error.
    pub(crate) fn remark(&mut self, line: &str, control: &mut Control) {
        let line = [line.as_bytes(), &[]];
        let stored = self.log.sink.append(line, Stream::Stderr, Tail::Newline, clock::now_ms(), control);
        note(&mut self.log.broken, stored);
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
            let sink = &mut self.log.sink;
            let read = if ready { source.pump(sink, control).map(drop) } else { Ok(()) };
            let stored = read.and_then(|()| source.flush_due(sink, control));
            note(&mut self.log.broken, stored);
        }
        self.check(control);
    }

    /// Stores the rest of both outputs, once nobody is left to write.
    pub(crate) fn drain(&mut self, control: &mut Control) {
        for source in &mut self.sources {
            let stored = source.drain(&mut self.log.sink, control);
            note(&mut self.log.broken, stored);
        }
        self.check(control);
    }

    /// The log, for the next stage.
    pub(crate) fn into_log(self) -> Log {
        let replaced: u64 = self.sources.iter().map(Source::replacements).sum();
        Log { replacements: self.log.replacements + replaced, ..self.log }
    }

    /// A log that takes nothing more ends the task.
    fn check(&mut self, control: &mut Control) {
        if self.log.sink.is_full() {
            control.end_now(EndReason::LogLimit, None);
        }
        if let Some(error) = &self.log.broken {
            control.end_now(EndReason::Lost, Some(format!("the log could not be written: {error}")));
        }
    }
}

/// The first error counts.
fn note(broken: &mut Option<io::Error>, stored: io::Result<()>) {
    if let Err(error) = stored {
        broken.get_or_insert(error);
    }
}
