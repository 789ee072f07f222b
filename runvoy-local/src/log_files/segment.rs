//! One segment file: its index, and the blocks in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use runvoy_task::block::{
    BlockError, HEADER_LEN, Header, INDEX_ENTRY_LEN, MAX_PAYLOAD, Tail, decode, decode_header,
};
use runvoy_task::layout;

use crate::task_dir::files;

/// Read at once: what an index entry may be off by, and a page of ordinary lines.
const CHUNK: u64 = 256 * 1024;
const _: () = assert!(CHUNK > (HEADER_LEN + MAX_PAYLOAD) as u64);

/// An open segment.
pub(super) struct Segment {
    /// Number of its first event, by its name.
    pub(super) first: u64,
    blocks: File,
    index: OnceLock<File>,
    /// Of the execution.
    dir: PathBuf,
}

/// An entry of an index: a hint, to be checked against the block that it names.
#[derive(Clone, Copy)]
struct Entry {
    first: u64,
    offset: u64,
}

impl Segment {
    pub(super) fn open(dir: &Path, first: u64) -> io::Result<Self> {
        let name = layout::segment_name(first, layout::SEGMENT_EXTENSION);
        let blocks = files::open(dir, &[layout::LOG, &name])?;
        Ok(Self { first, blocks, index: OnceLock::new(), dir: dir.to_owned() })
    }

    /// Whether no name leads to it any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.blocks.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    /// Offset of a block that holds event `wanted` or stands before it.
    pub(super) fn seek(&self, wanted: u64) -> io::Result<u64> {
        let Some(index) = self.index() else { return Ok(0) };
        let (mut low, mut high) = (0, index.metadata()?.len() / INDEX_ENTRY_LEN as u64);
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(entry) = read_entry(index, middle)? else { break };
            if entry.first <= wanted {
                best = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match best {
            Some(entry) if self.is_block(entry)? => Ok(entry.offset),
            _ => Ok(0),
        }
    }

    /// Places after `offset` at which blocks ought to begin, in order: where to look behind damage.
    ///
    /// A damaged index may name any number; those beyond the file are left out.
    pub(super) fn places_after(&self, offset: u64) -> io::Result<Vec<u64>> {
        let Some(index) = self.index() else { return Ok(Vec::new()) };
        let bytes = read_at(index, 0, index.metadata()?.len())?;
        let entries = bytes.chunks_exact(INDEX_ENTRY_LEN).filter_map(parse_entry);
        let inside = offset.saturating_add(1)..self.blocks.metadata()?.len();
        let mut places: Vec<u64> =
            entries.map(|entry| entry.offset).filter(|at| inside.contains(at)).collect();
        places.sort_unstable();
        Ok(places)
    }

    fn index(&self) -> Option<&File> {
        if let Some(index) = self.index.get() {
            return Some(index);
        }
        // Made after the segment, so that it may not be there yet: then the segment is short, too.
        let name = layout::segment_name(self.first, layout::INDEX_EXTENSION);
        let index = files::open(&self.dir, &[layout::LOG, &name]).ok()?;
        Some(self.index.get_or_init(|| index))
    }

    fn is_block(&self, entry: Entry) -> io::Result<bool> {
        if entry.offset >= self.blocks.metadata()?.len() {
            return Ok(false);
        }
        let bytes = read_at(&self.blocks, entry.offset, HEADER_LEN as u64)?;
        Ok(decode_header(&bytes).is_ok_and(|header| header.first == entry.first))
    }
}

fn read_entry(index: &File, at: u64) -> io::Result<Option<Entry>> {
    let mut bytes = [0; INDEX_ENTRY_LEN];
    match index.read_exact_at(&mut bytes, at * INDEX_ENTRY_LEN as u64) {
        Ok(()) => Ok(parse_entry(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_entry(bytes: &[u8]) -> Option<Entry> {
    let (first, offset) = bytes.split_first_chunk::<8>()?;
    let offset = offset.first_chunk::<8>()?;
    Some(Entry { first: u64::from_le_bytes(*first), offset: u64::from_le_bytes(*offset) })
}

/// Reads up to `want` bytes; fewer only at the end of the file.
fn read_at(file: &File, offset: u64, want: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(want).map_err(io::Error::other)?);
    while bytes.len() < bytes.capacity() {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// What stands at an offset.
pub(super) enum Found {
    /// A sound block.
    Block(Header, Bytes),
    /// No sound block.
    Broken {
        /// Its length by its own account; `None` for what may be the beginning of a block.
        skip: Option<u64>,
    },
    /// The end of the file.
    End,
}

/// Blocks of one segment, read through a large buffer that its payloads share.
pub(super) struct Window {
    segment: Arc<Segment>,
    start: u64,
    buffer: Bytes,
    /// Bytes read so far.
    pub(super) read: u64,
}

impl Window {
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        Self { segment, start: 0, buffer: Bytes::new(), read: 0 }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Forgets what was read: the file may have grown.
    pub(super) fn refresh(&mut self) {
        self.buffer.clear();
    }

    /// Looks at an offset.
    pub(super) fn at(&mut self, offset: u64) -> io::Result<Found> {
        if let Some(found) = self.look(offset) {
            return Ok(found);
        }
        let length = self.segment.blocks.metadata()?.len();
        self.buffer = read_at(&self.segment.blocks, offset, length.saturating_sub(offset).min(CHUNK))?.into();
        self.read += self.buffer.len() as u64;
        self.start = offset;
        let rest = if self.buffer.is_empty() { Found::End } else { Found::Broken { skip: None } };
        Ok(self.look(offset).unwrap_or(rest))
    }

    /// `None` if the buffer ends before it can tell.
    fn look(&self, offset: u64) -> Option<Found> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let bytes = self.buffer.get(from..)?;
        match decode(bytes) {
            Ok((header, payload)) if is_sound(&header, payload) => {
                Some(Found::Block(header, self.buffer.slice_ref(payload)))
            }
            Err(BlockError::Short) => None,
            Ok(_) | Err(BlockError::Damaged) => {
                let skip = decode_header(bytes).map_or(HEADER_LEN as u64, |header| header.block_len());
                Some(Found::Broken { skip: Some(skip) })
            }
        }
    }
}

/// Whether a header says of its payload what the payload says itself.
fn is_sound(header: &Header, payload: &[u8]) -> bool {
    let newlines = memchr::memchr_iter(b'\n', payload).count() as u64;
    let ends_in_newline = payload.last() == Some(&b'\n');
    !payload.is_empty()
        && ends_in_newline == (header.tail == Tail::Newline)
        && newlines + u64::from(!ends_in_newline) == u64::from(header.events)
}
