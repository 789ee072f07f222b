//! Puts a page together: cuts blocks to the limits, and joins those of a command that writes line by line.

use bytes::{Bytes, BytesMut};
use runvoy_core::limits::LINE_BYTES;
use runvoy_core::log::{Cursor, LogBlock, Stream, Tail};
use runvoy_core::port::{LogItem, ReadLimit};

/// No page is larger, whatever its limit.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// What is said of a block beside its bytes.
#[derive(Clone, Copy)]
pub(crate) struct About {
    /// Number of the first event.
    pub(crate) first: u64,
    /// Number of the event after the last.
    pub(crate) next: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    /// Where the bytes came from.
    pub(crate) stream: Stream,
    /// How the last event ends.
    pub(crate) tail: Tail,
}

/// A page in the making.
pub(crate) struct PageBuilder {
    items: Vec<LogItem>,
    joined: Option<Joined>,
    events_left: u64,
    bytes_left: u64,
    /// Payload bytes taken.
    bytes: u64,
    keep: bool,
    gaps: bool,
}

impl PageBuilder {
    pub(crate) fn new(limit: ReadLimit) -> Self {
        Self {
            items: Vec::new(),
            joined: None,
            events_left: limit.events.max(1),
            bytes_left: limit.bytes.clamp(1, MOST_BYTES),
            bytes: 0,
            keep: true,
            gaps: false,
        }
    }

    /// A page that only measures.
    #[cfg(any(feature = "docker", feature = "process"))]
    pub(crate) fn measure(bytes: u64) -> Self {
        let limit = ReadLimit { events: u64::MAX, bytes: 1 };
        Self { keep: false, bytes_left: bytes, ..Self::new(limit) }
    }

    /// Whether it takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.events_left == 0 || self.bytes_left == 0
    }

    /// Whether it holds a gap.
    #[cfg(any(feature = "docker", feature = "process"))]
    pub(crate) fn has_gaps(&self) -> bool {
        self.gaps
    }

    /// Says that events are missing.
    pub(crate) fn gap(&mut self, from: u64, to: u64) {
        self.flush();
        self.gaps = true;
        if self.keep {
            self.items.push(LogItem::Gap { from, to, next: Cursor::before_event(to) });
        }
    }

    /// Takes what fits of a block from event `wanted` on. The number of the event after that.
    pub(crate) fn push(&mut self, mut about: About, bytes: &Bytes, wanted: u64) -> u64 {
        let there = about.next.saturating_sub(wanted);
        let taken = there.min(self.events_left);
        let mut piece = bytes.slice(after_newlines(bytes, wanted.saturating_sub(about.first))..);
        if taken < there {
            piece.truncate(after_newlines(&piece, taken));
            about.tail = Tail::Newline;
        }
        self.events_left -= taken;
        self.bytes_left = self.bytes_left.saturating_sub(piece.len() as u64);
        self.bytes += piece.len() as u64;
        about.first = wanted;
        about.next = wanted.saturating_add(taken);
        if self.keep {
            self.add(about, piece);
        }
        about.next
    }

    /// The items. `read` bytes were read for them, which small pages do not hold on to.
    pub(crate) fn finish(mut self, read: u64) -> Vec<LogItem> {
        self.flush();
        if self.bytes.saturating_mul(4) < read {
            for item in &mut self.items {
                if let LogItem::Block(block) = item {
                    block.bytes = Bytes::copy_from_slice(&block.bytes);
                }
            }
        }
        self.items
    }

    fn add(&mut self, piece: About, bytes: Bytes) {
        if let Some(joined) = &mut self.joined
            && joined.takes(&piece, bytes.len())
        {
            joined.piece.next = piece.next;
            joined.piece.tail = piece.tail;
            joined.length += bytes.len();
            joined.parts.push(bytes);
            return;
        }
        self.flush();
        self.joined = Some(Joined { length: bytes.len(), piece, parts: vec![bytes] });
    }

    fn flush(&mut self) {
        let Some(Joined { piece, parts, length }) = self.joined.take() else { return };
        let bytes = match <[Bytes; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => {
                let mut all = BytesMut::with_capacity(length);
                for part in &parts {
                    all.extend_from_slice(part);
                }
                all.freeze()
            }
        };
        self.items.push(LogItem::Block(LogBlock {
            first: piece.first,
            timestamp: piece.timestamp,
            stream: piece.stream,
            tail: piece.tail,
            bytes,
            next: Cursor::before_event(piece.next),
        }));
    }
}

/// Pieces that become one block.
struct Joined {
    piece: About,
    parts: Vec<Bytes>,
    length: usize,
}

impl Joined {
    /// Whether nobody could tell the two apart from one.
    fn takes(&self, next: &About, length: usize) -> bool {
        let own = &self.piece;
        own.tail == Tail::Newline
            && (own.stream, own.timestamp, own.next) == (next.stream, next.timestamp, next.first)
            && self.length + length <= LINE_BYTES
    }
}

/// Where the bytes after the first `count` newlines begin.
fn after_newlines(bytes: &[u8], count: u64) -> usize {
    let Some(last) = count.checked_sub(1) else { return 0 };
    let nth = usize::try_from(last).unwrap_or(usize::MAX);
    memchr::memchr_iter(b'\n', bytes).nth(nth).map_or(bytes.len(), |at| at + 1)
}
