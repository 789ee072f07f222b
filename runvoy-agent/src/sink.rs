//! The log on disk: segments of blocks, an index beside each, and what the end record says of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runvoy_task::block::{HEADER_LEN, Header, INDEX_EVERY, Stream, Tail, encode_header};
use runvoy_task::layout;

use crate::cut::Parts;

/// What goes on while a full disk is waited for.
pub(crate) trait Wait {
    /// Does other work for about this long.
    fn pause(&mut self, time: Duration);

    /// Whether the task comes to its end, for which room was kept.
    fn is_ending(&self) -> bool;
}

/// There is nothing to look after, not yet or not any more.
pub(crate) struct Asleep;

impl Wait for Asleep {
    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn is_ending(&self) -> bool {
        true
    }
}

/// How long to leave a full disk alone.
const RETRY: Duration = Duration::from_millis(100);

/// A disk counts as full while it has less room than this, or than its [`SPARE_PART`]: who records and orders a kill needs some.
const SPARE: u64 = 64 << 20;
/// What is spared of a small disk: one part of so many.
const SPARE_PART: u64 = 20;
/// Bytes that are written without another look at the disk.
const LOOK_EVERY: u64 = 256 << 10;

/// Repeats `write` for as long as the disk is full.
pub(crate) fn retrying<T>(wait: &mut dyn Wait, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match write() {
            Err(error) if is_full(&error) => wait.pause(RETRY),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a log holds, for the end record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Events, hence the number of the next one.
    pub(crate) events: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// BLAKE3 of them, in hex.
    pub(crate) hash: String,
}

/// Appends blocks to the segments of one log.
pub(crate) struct Sink {
    dir: PathBuf,
    segment: File,
    index: File,
    /// Length of the open segment.
    length: u64,
    /// Bytes of it since the last index entry; `None` before the first.
    unindexed: Option<u64>,
    segment_bytes: u64,
    limit: u64,
    full: bool,
    /// Bytes since the last look at the disk; `None` before the first.
    unlooked: Option<u64>,
    events: u64,
    bytes: u64,
    hash: blake3::Hasher,
}

impl Sink {
    /// Creates the log directory and the first segment.
    pub(crate) fn create(dir: &Path, segment_bytes: u64, limit: u64) -> io::Result<Self> {
        let dir = dir.join(layout::LOG);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let (segment, index) = open(&dir, 0)?;
        Ok(Self {
            dir,
            segment,
            index,
            length: 0,
            unindexed: None,
            segment_bytes,
            limit,
            full: false,
            unlooked: None,
            events: 0,
            bytes: 0,
            hash: blake3::Hasher::new(),
        })
    }

    /// Whether bytes came that the limit left no room for. Everything after them is dropped, too.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Appends one block; cuts it at the log's limit.
    pub(crate) fn append(
        &mut self,
        payload: Parts<'_>,
        stream: Stream,
        tail: Tail,
        time_ms: u64,
        wait: &mut dyn Wait,
    ) -> io::Result<()> {
        let Some((payload, tail)) = self.within_limit(payload, tail) else { return Ok(()) };
        let [before, after] = payload;
        let length = before.len() as u64 + after.len() as u64;
        self.leave_room(length, wait);
        if self.length >= self.segment_bytes && self.length > 0 {
            self.roll(wait)?;
        }
        let events = count_events(payload, tail);
        let header = Header { len: 0, events, first: self.events, time_ms, stream, tail };
        let head = encode_header(&header, &payload);
        write_all(&mut self.segment, &mut [&head, before, after].map(IoSlice::new), wait)?;
        self.index_block(wait)?;
        self.length += HEADER_LEN as u64 + length;
        self.unindexed = self.unindexed.map(|since| since + HEADER_LEN as u64 + length);
        self.events += u64::from(events);
        self.bytes += length;
        self.hash.update(before);
        self.hash.update(after);
        Ok(())
    }

    /// Makes the segments durable and sums them up. Indexes can be made anew from them.
    pub(crate) fn finish(&self) -> io::Result<Totals> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == layout::SEGMENT_EXTENSION) {
                File::open(path)?.sync_data()?;
            }
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(self.totals())
    }

    /// What was stored so far.
    pub(crate) fn totals(&self) -> Totals {
        Totals { events: self.events, bytes: self.bytes, hash: self.hash.finalize().to_hex().to_string() }
    }

    /// Waits for as long as nothing but the spare room is left, unless the task ends.
    fn leave_room(&mut self, length: u64, wait: &mut dyn Wait) {
        self.unlooked = self.unlooked.map(|since| since + length);
        if self.unlooked.is_some_and(|since| since < LOOK_EVERY) {
            return;
        }
        while !wait.is_ending() && has_spare_alone(&self.segment) {
            wait.pause(RETRY);
        }
        self.unlooked = Some(0);
    }

    /// What of a payload the limit leaves room for.
    fn within_limit<'a>(&mut self, payload: Parts<'a>, tail: Tail) -> Option<(Parts<'a>, Tail)> {
        if self.full {
            return None;
        }
        let [before, after] = payload;
        let room = usize::try_from(self.limit - self.bytes).unwrap_or(usize::MAX);
        if before.len() + after.len() <= room {
            return Some((payload, tail));
        }
        self.full = true;
        let before = before.get(..room).unwrap_or(before);
        let after = after.get(..room - before.len()).unwrap_or(after);
        let last = after.last().or(before.last())?;
        Some(([before, after], if *last == b'\n' { Tail::Newline } else { Tail::Part }))
    }

    /// Writes the entry of the block that was just written, if one is due.
    fn index_block(&mut self, wait: &mut dyn Wait) -> io::Result<()> {
        if self.unindexed.is_some_and(|since| since < INDEX_EVERY) {
            return Ok(());
        }
        let entry = [self.events.to_le_bytes(), self.length.to_le_bytes()].concat();
        write_all(&mut self.index, &mut [IoSlice::new(&entry)], wait)?;
        self.unindexed = Some(0);
        Ok(())
    }

    fn roll(&mut self, wait: &mut dyn Wait) -> io::Result<()> {
        (self.segment, self.index) = retrying(wait, || open(&self.dir, self.events))?;
        self.length = 0;
        self.unindexed = None;
        Ok(())
    }
}

/// The segment first: an index without its segment would be one of nothing.
fn open(dir: &Path, first: u64) -> io::Result<(File, File)> {
    let open = |extension| {
        let path = dir.join(layout::segment_name(first, extension));
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    };
    Ok((open(layout::SEGMENT_EXTENSION)?, open(layout::INDEX_EXTENSION)?))
}

fn has_spare_alone(file: &File) -> bool {
    // Who cannot look writes, and waits where that fails.
    let Ok(disk) = rustix::fs::fstatvfs(file) else { return false };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    room < SPARE.min(disk.f_blocks.saturating_mul(disk.f_frsize) / SPARE_PART)
}

fn count_events(payload: Parts<'_>, tail: Tail) -> u32 {
    let newlines: usize = payload.iter().map(|part| memchr::memchr_iter(b'\n', part).count()).sum();
    u32::try_from(newlines).unwrap_or(u32::MAX) + u32::from(tail != Tail::Newline)
}

fn write_all(file: &mut File, mut parts: &mut [IoSlice<'_>], wait: &mut dyn Wait) -> io::Result<()> {
    while !parts.is_empty() {
        match retrying(wait, || file.write_vectored(parts))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut parts, written),
        }
    }
    Ok(())
}
