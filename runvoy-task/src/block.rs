//! The log record: a header and the raw, masked bytes of one read.
//!
//! ```text
//! offset  0  magic        4 bytes, "RVB1"
//!         4  crc          u32, CRC-32 (IEEE) of everything after this field
//!         8  len          u32, payload bytes, at most 64 KiB
//!        12  events       u32, events in this block, at least 1
//!        16  first        u64, number of the first event, from 0 over the whole log
//!        24  time_ms      u64, milliseconds since the Unix epoch
//!        32  stream       u8, 1 stdout, 2 stderr
//!        33  tail         u8, 0 the last line ends in a newline, 1 it goes on, 2 the stream ended without one
//!        34  reserved     2 bytes, zero
//!        36  payload
//! ```
//!
//! Integers are little-endian. Every newline ends an event; bytes after the last newline are one more event,
//! about which `tail` speaks. So the bytes of a stream are the payloads of its blocks, one after the other.

/// Length of a header.
pub const HEADER_LEN: usize = 36;
/// Largest payload: 64 KiB, which is also the longest line that one event holds.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Length of an index entry: `first: u64`, then `offset: u64`, little-endian, for a block of the segment.
pub const INDEX_ENTRY_LEN: usize = 16;
/// An index entry is due once this many bytes follow the last one.
pub const INDEX_EVERY: u64 = 64 * 1024;

const MAGIC: [u8; 4] = *b"RVB1";

/// Which of the command's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// How the last event of a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// In a newline.
    Newline = 0,
    /// Not yet: the line goes on in a later block of the stream.
    Part = 1,
    /// Not at all: the stream ended.
    NoNewline = 2,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes.
    pub len: u32,
    /// Events in the payload.
    pub events: u32,
    /// Number of the first of them.
    pub first: u64,
    /// When the bytes were read, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Where they came from.
    pub stream: Stream,
    /// How the last event ends.
    pub tail: Tail,
}

impl Header {
    /// Number of the first event after this block.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.events))
    }

    /// Bytes of the whole block.
    pub fn block_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.len)
    }
}

/// Why bytes are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes end before the block does: a torn tail, or a block that is still being written.
    #[error("block is not complete")]
    Short,
    /// The bytes are no block, or a damaged one.
    #[error("block is damaged")]
    Damaged,
}

/// Appends header and payload to `out`. `header.len` is taken from the payload.
pub fn encode(header: &Header, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&encode_header(header, &[payload]));
    out.extend_from_slice(payload);
}

/// The bytes that stand before a payload given in parts. `header.len` is taken from the payload.
///
/// For a writer that hands header and payload to one vectored write, without a copy of the payload.
pub fn encode_header(header: &Header, payload: &[&[u8]]) -> [u8; HEADER_LEN] {
    let len = payload.iter().map(|part| part.len()).sum::<usize>();
    debug_assert!(len <= MAX_PAYLOAD, "payload over {MAX_PAYLOAD}");
    let mut out = [0_u8; HEADER_LEN];
    put(&mut out, 8, &u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut out, 12, &header.events.to_le_bytes());
    put(&mut out, 16, &header.first.to_le_bytes());
    put(&mut out, 24, &header.time_ms.to_le_bytes());
    put(&mut out, 32, &[header.stream as u8, header.tail as u8]);
    let mut crc = crc32fast::Hasher::new();
    crc.update(out.get(8..).unwrap_or_default());
    for part in payload {
        crc.update(part);
    }
    put(&mut out, 0, &MAGIC);
    put(&mut out, 4, &crc.finalize().to_le_bytes());
    out
}

fn put(out: &mut [u8; HEADER_LEN], at: usize, bytes: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Reads the header at the start of `bytes`, without looking at the payload.
pub fn decode_header(bytes: &[u8]) -> Result<Header, BlockError> {
    let header = bytes.get(..HEADER_LEN).ok_or(BlockError::Short)?;
    if header.get(..4) != Some(&MAGIC) {
        return Err(BlockError::Damaged);
    }
    let stream = match header.get(32) {
        Some(1) => Stream::Stdout,
        Some(2) => Stream::Stderr,
        _ => return Err(BlockError::Damaged),
    };
    let tail = match header.get(33) {
        Some(0) => Tail::Newline,
        Some(1) => Tail::Part,
        Some(2) => Tail::NoNewline,
        _ => return Err(BlockError::Damaged),
    };
    let header = Header {
        len: u32_at(header, 8),
        events: u32_at(header, 12),
        first: u64_at(header, 16),
        time_ms: u64_at(header, 24),
        stream,
        tail,
    };
    if header.len as usize > MAX_PAYLOAD || header.events == 0 {
        return Err(BlockError::Damaged);
    }
    Ok(header)
}

/// Reads the block at the start of `bytes` and checks its CRC.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), BlockError> {
    let header = decode_header(bytes)?;
    let end = HEADER_LEN + header.len as usize;
    let block = bytes.get(..end).ok_or(BlockError::Short)?;
    if crc32fast::hash(block.get(8..).unwrap_or_default()) != u32_at(block, 4) {
        return Err(BlockError::Damaged);
    }
    Ok((header, block.get(HEADER_LEN..).unwrap_or_default()))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_reads_back(payload in proptest::collection::vec(any::<u8>(), 0..4096),
                              first: u64, time_ms: u64, events in 1_u32..9, stderr: bool, tail in 0_u8..3) {
            let header = Header {
                len: u32::try_from(payload.len()).unwrap(),
                events, first, time_ms,
                stream: if stderr { Stream::Stderr } else { Stream::Stdout },
                tail: [Tail::Newline, Tail::Part, Tail::NoNewline][usize::from(tail)],
            };
            let mut out = Vec::new();
            encode(&header, &payload, &mut out);
            prop_assert_eq!(out.len() as u64, header.block_len());
            prop_assert_eq!(decode(&out), Ok((header, payload.as_slice())));
        }

        #[test]
        fn a_torn_or_damaged_block_is_noticed(payload in proptest::collection::vec(any::<u8>(), 1..512),
                                              at: prop::sample::Index, flip in 1_u8..=255) {
            let header = Header { len: 0, events: 1, first: 3, time_ms: 4, stream: Stream::Stdout, tail: Tail::Part };
            let mut out = Vec::new();
            encode(&header, &payload, &mut out);
            let at = at.index(out.len());
            prop_assert_eq!(decode(&out[..at]), Err(BlockError::Short));
            out[at] ^= flip;
            prop_assert!(decode(&out).is_err());
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let header =
            Header { len: 2, events: 1, first: 5, time_ms: 6, stream: Stream::Stderr, tail: Tail::NoNewline };
        let mut out = Vec::new();
        encode(&header, b"hi", &mut out);
        assert_eq!(&out[..4], b"RVB1");
        assert_eq!(&out[8..12], &[2, 0, 0, 0]);
        assert_eq!(&out[16..24], &[5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&out[32..], &[2, 2, 0, 0, b'h', b'i']);
    }
}
