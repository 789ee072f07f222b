//! One output of the command: from its pipe through the mask and the cutter.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use runvoy_task::block::{Stream, Tail};
use rustix::io::Errno;

use crate::clock;
use crate::cut::{Cutter, Parts};
use crate::mask::Masker;
use crate::sink::{Sink, Wait};

/// Bytes per read.
const READ_BYTES: usize = 256 * 1024;
/// A finished line that is held because it could be the start of broken base64 is held this long.
const LINE_HOLD: Duration = Duration::from_millis(10);

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// So many bytes; there may be more.
    Some(usize),
    /// Nothing for now.
    Nothing,
    /// The end, now or before.
    Closed,
}

/// One output of the command.
pub(crate) struct Source {
    fd: Option<OwnedFd>,
    stream: Stream,
    /// `held` bytes that the mask still looks at, then room for a read.
    buffer: Vec<u8>,
    held: usize,
    last_read: Instant,
    mask: Option<Masker>,
    cutter: Cutter,
}

impl Source {
    /// Takes the read end of a pipe.
    pub(crate) fn new(fd: OwnedFd, stream: Stream, mask: Option<Masker>) -> Self {
        let room = READ_BYTES + mask.as_ref().map_or(0, Masker::most_kept);
        Self {
            fd: Some(fd),
            stream,
            // Zeroed by the kernel: pages that no output ever needs stay untouched.
            buffer: vec![0; room],
            held: 0,
            last_read: Instant::now(),
            mask,
            cutter: Cutter::default(),
        }
    }

    /// What to poll, until the end.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// Runs replaced so far.
    pub(crate) fn replacements(&self) -> u64 {
        self.mask.as_ref().map_or(0, Masker::replacements)
    }

    /// Reads once and stores what can be stored.
    pub(crate) fn pump(&mut self, sink: &mut Sink, wait: &mut dyn Wait) -> io::Result<Pumped> {
        let Some(fd) = &self.fd else { return Ok(Pumped::Closed) };
        let room = self.buffer.get_mut(self.held..).unwrap_or_default();
        match rustix::io::read(fd, room) {
            Ok(0) => self.close(sink, wait).map(|()| Pumped::Closed),
            Ok(n) => self.take(n, sink, wait).map(|()| Pumped::Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Pumped::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// When [`Self::flush_due`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let line = self.holds_line().then(|| self.last_read + LINE_HOLD);
        [self.cutter.due(), line].into_iter().flatten().min()
    }

    /// Stores an unfinished line that has waited long enough.
    pub(crate) fn flush_due(&mut self, sink: &mut Sink, wait: &mut dyn Wait) -> io::Result<()> {
        let now = Instant::now();
        let stream = self.stream;
        let mut store = |parts: Parts<'_>, tail| sink.append(parts, stream, tail, clock::now_ms(), wait);
        if self.holds_line()
            && now >= self.last_read + LINE_HOLD
            && let Some(mask) = &mut self.mask
        {
            let shown = mask.release_line(self.buffer.get(..self.held).unwrap_or_default());
            self.cutter.push(shown, now, &mut store)?;
        }
        if self.cutter.due().is_some_and(|due| now >= due) {
            self.cutter.flush(Tail::Part, store)?;
        }
        Ok(())
    }

    /// Stores everything that was written so far, and ends the stream.
    ///
    /// For the time when nobody of the tree is left: what else comes is from somebody who was handed the pipe's
    /// end, and who may keep it for ever.
    pub(crate) fn drain(&mut self, sink: &mut Sink, wait: &mut dyn Wait) -> io::Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        let mut left = usize::try_from(rustix::io::ioctl_fionread(fd)?).unwrap_or(usize::MAX);
        while left > 0
            && let Pumped::Some(read) = self.pump(sink, wait)?
        {
            left = left.saturating_sub(read);
        }
        self.close(sink, wait)
    }

    fn close(&mut self, sink: &mut Sink, wait: &mut dyn Wait) -> io::Result<()> {
        if self.fd.take().is_none() {
            return Ok(());
        }
        let (stream, now) = (self.stream, clock::now_ms());
        let mut store = |parts: Parts<'_>, tail| sink.append(parts, stream, tail, now, wait);
        if let Some(mask) = &mut self.mask {
            let rest = self.buffer.get(..self.held).unwrap_or_default();
            self.cutter.push(mask.process(rest, true).0, Instant::now(), &mut store)?;
        }
        self.held = 0;
        self.buffer = Vec::new();
        self.cutter.flush(Tail::NoNewline, store)
    }

    fn take(&mut self, read: usize, sink: &mut Sink, wait: &mut dyn Wait) -> io::Result<()> {
        let (stream, now) = (self.stream, clock::now_ms());
        let mut store = |parts: Parts<'_>, tail| sink.append(parts, stream, tail, now, wait);
        self.last_read = Instant::now();
        let end = self.held + read;
        let bytes = self.buffer.get(..end).unwrap_or_default();
        let Some(mask) = &mut self.mask else {
            return self.cutter.push(bytes, self.last_read, store);
        };
        let (output, keep_from) = mask.process(bytes, false);
        self.cutter.push(output, self.last_read, &mut store)?;
        self.buffer.copy_within(keep_from..end, 0);
        self.held = end - keep_from;
        if self.held > mask.most_kept() {
            let kept = self.buffer.get(..self.held).unwrap_or_default();
            self.cutter.push(mask.process(kept, true).0, self.last_read, store)?;
            self.held = 0;
        }
        Ok(())
    }

    fn holds_line(&self) -> bool {
        let held = self.buffer.get(..self.held).unwrap_or_default();
        self.mask.as_ref().is_some_and(|mask| mask.can_release_line(held))
    }
}
