//! Sums up a log whose supervisor died before it could.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use runvoy_task::block::{HEADER_LEN, Header, decode, decode_header};
use runvoy_task::layout;

use crate::sink::Totals;

/// What the complete blocks of the log hold. Stops at a torn tail, and cuts nothing.
pub(crate) fn totals(dir: &Path) -> io::Result<Totals> {
    let log = dir.join(layout::LOG);
    let mut segments: Vec<u64> = match fs::read_dir(&log) {
        Ok(entries) => {
            entries.flatten().filter_map(|entry| layout::segment_first(entry.file_name().to_str()?)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    segments.sort_unstable();
    let mut hash = blake3::Hasher::new();
    let (mut events, mut bytes) = (0, 0);
    for first in segments {
        if first != events {
            break;
        }
        let path = log.join(layout::segment_name(first, layout::SEGMENT_EXTENSION));
        let mut segment = BufReader::new(File::open(path)?);
        let mut block = Vec::new();
        while let Some(header) = next_block(&mut segment, &mut block)?.filter(|header| header.first == events)
        {
            hash.update(block.get(HEADER_LEN..).unwrap_or_default());
            events = header.next();
            bytes += u64::from(header.len);
        }
        File::open(log.join(layout::segment_name(first, layout::SEGMENT_EXTENSION)))?.sync_data()?;
    }
    Ok(Totals { events, bytes, hash: hash.finalize().to_hex().to_string() })
}

/// Reads the next block; `None` at the end, and at anything that is no complete block.
fn next_block(segment: &mut impl Read, block: &mut Vec<u8>) -> io::Result<Option<Header>> {
    block.clear();
    segment.take(HEADER_LEN as u64).read_to_end(block)?;
    let Ok(header) = decode_header(block) else { return Ok(None) };
    segment.take(u64::from(header.len)).read_to_end(block)?;
    Ok(decode(block).ok().map(|(header, _)| header))
}
