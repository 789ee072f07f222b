//! Reads a page of a log, and says what is missing.

use std::io;

use runvoy_core::log::Cursor;
use runvoy_core::port::{LogEnd, LogError, LogPage, ReadLimit};
use runvoy_task::block::Header;

use super::cache::{Listing, OpenLog, Place};
use super::segment::{Found, Window};
use crate::page::{About, PageBuilder};

/// Bytes checked at once, before others get their turn.
const CHECKED_AT_ONCE: u64 = 32 * 1024 * 1024;

/// A page, and whether it may be said already that the log is complete.
pub(super) struct Read {
    /// The page. Its `end` says `complete: false` until that was checked.
    pub(super) page: LogPage,
    /// Whether the part of the log that nobody read so far has to be checked.
    pub(super) unchecked: bool,
}

/// Reads a page.
pub(super) fn read(log: &OpenLog, after: Option<&Cursor>, limit: ReadLimit) -> Result<Read, LogError> {
    let wanted = wanted(after)?;
    let scan = Scan::new(log, wanted, PageBuilder::new(limit)).map_err(LogError::unavailable)?;
    let scan = scan.run().map_err(LogError::unavailable)?;
    let ended = scan.ended.then_some(scan.listing.end).flatten();
    if wanted > scan.seen.max(ended.unwrap_or_default()) && !scan.damaged {
        return Err(LogError::UnknownCursor);
    }
    let counts_agree = ended == Some(scan.wanted);
    let (sound_to, gaps) = log.soundness();
    let next = Cursor::before_event(scan.wanted);
    let complete = counts_agree && !gaps && sound_to >= scan.wanted;
    let unchecked = counts_agree && !gaps && sound_to < scan.wanted;
    let end = ended.map(|_| LogEnd { complete });
    Ok(Read { page: LogPage { items: scan.page.finish(scan.read), next, end }, unchecked })
}

/// Checks a further part of a log that has ended. `Some(complete)` once that is known.
pub(super) fn check(log: &OpenLog) -> io::Result<Option<bool>> {
    let (from, _) = log.soundness();
    let scan = Scan::new(log, from, PageBuilder::measure(CHECKED_AT_ONCE))?.run()?;
    let (sound_to, gaps) = log.soundness();
    let all = scan.listing.end.is_some_and(|end| sound_to >= end);
    Ok(if gaps { Some(false) } else { (all || scan.ended || scan.wanted == from).then_some(all) })
}

/// Whether something follows a position, be it the end.
pub(super) fn has_more(log: &OpenLog, after: Option<&Cursor>) -> Result<bool, LogError> {
    let Read { page, .. } = read(log, after, ReadLimit { events: 1, bytes: 1 })?;
    Ok(!page.items.is_empty() || page.end.is_some())
}

/// The position before the last events that are there.
pub(super) fn tail(log: &OpenLog, events: u64) -> io::Result<Option<Cursor>> {
    log.list_again()?;
    let scan = Scan::new(log, u64::MAX, PageBuilder::new(ReadLimit { events: 1, bytes: 1 }))?.run()?;
    let first = scan.seen.saturating_sub(events);
    Ok((first > 0).then(|| Cursor::before_event(first)))
}

fn wanted(after: Option<&Cursor>) -> Result<u64, LogError> {
    after.map_or(Ok(0), |cursor| cursor.next_event().ok_or(LogError::UnknownCursor))
}

fn about(header: &Header) -> About {
    About {
        first: header.first,
        next: header.next(),
        timestamp: i64::try_from(header.time_ms).unwrap_or(i64::MAX),
        stream: header.stream,
        tail: header.tail,
    }
}

/// A walk over blocks from an event on.
struct Scan<'a> {
    log: &'a OpenLog,
    listing: Listing,
    /// Number of the next event to hand out.
    wanted: u64,
    page: PageBuilder,
    /// The log is known to have had every event before this one.
    seen: u64,
    damaged: bool,
    ended: bool,
    read: u64,
    /// Where the last block ended, if it was taken whole.
    place: Option<Place>,
}

/// What a segment's walk came to.
enum Stop {
    /// The page is full.
    Full,
    /// The segment holds no more, for now or for ever.
    Tail,
}

impl<'a> Scan<'a> {
    fn new(log: &'a OpenLog, wanted: u64, page: PageBuilder) -> io::Result<Self> {
        let listing = log.listing()?;
        let (seen, read, place) = (0, 0, None);
        Ok(Self { log, listing, wanted, page, seen, damaged: false, ended: false, read, place })
    }

    /// Walks until the page is full or the log holds no more.
    fn run(mut self) -> io::Result<Self> {
        let from = self.wanted;
        if self.listing.segments.is_empty() {
            self.listing.segments = self.log.list_again()?;
        }
        let stop = self.walk()?;
        if let (Stop::Tail, Some(end)) = (&stop, self.listing.end) {
            self.ended = self.pass_gap(end);
        }
        let place = self.place.filter(|place| place.event == self.wanted);
        if from <= self.seen {
            self.log.note(from, self.wanted, self.page.has_gaps(), place);
        }
        Ok(self)
    }

    fn walk(&mut self) -> io::Result<Stop> {
        let from = self.wanted;
        let start = self.listing.segments.partition_point(|first| *first <= from).saturating_sub(1);
        let mut next = self.listing.segments.get(start).copied();
        let mut begun = false;
        while let Some(first) = next {
            self.seen = self.seen.max(first);
            if first > self.wanted && !self.pass_gap(first) {
                return Ok(Stop::Full);
            }
            let mut window = Window::new(self.log.segment(first)?);
            let offset = if begun { 0 } else { self.enter(&window, from)? };
            begun = true;
            let stop = self.walk_segment(&mut window, offset)?;
            self.read += window.read;
            if matches!(stop, Stop::Full) {
                return Ok(stop);
            }
            next = self.segment_after(first);
        }
        Ok(Stop::Tail)
    }

    /// Where to begin in the first segment.
    fn enter(&mut self, window: &Window, from: u64) -> io::Result<u64> {
        let segment = window.segment();
        match self.log.place(from).filter(|place| place.segment == segment.first) {
            Some(place) => {
                self.seen = self.seen.max(place.event);
                Ok(place.offset)
            }
            None => segment.seek(from),
        }
    }

    fn walk_segment(&mut self, window: &mut Window, mut offset: u64) -> io::Result<Stop> {
        let first = window.segment().first;
        let mut settled = self.is_settled(first);
        loop {
            match window.at(offset)? {
                Found::Block(header, payload) => {
                    offset += header.block_len();
                    self.seen = self.seen.max(header.next());
                    if header.next() <= self.wanted {
                        continue;
                    }
                    if header.first > self.wanted && !self.pass_gap(header.first) || self.page.is_full() {
                        return Ok(Stop::Full);
                    }
                    self.wanted = self.page.push(about(&header), &payload, self.wanted);
                    self.place = Some(Place { event: header.next(), segment: first, offset });
                    continue;
                }
                Found::Broken { skip } => {
                    if let Some(place) = self.behind(window, offset, skip)? {
                        self.damaged |= place != offset;
                        offset = place;
                        continue;
                    }
                    self.damaged |= skip.is_some();
                }
                Found::End => {}
            }
            if settled {
                return Ok(Stop::Tail);
            }
            // What is missing is missing only if the segment was finished before it was read.
            self.listing.segments = self.log.list_again()?;
            settled = self.is_settled(first);
            if !settled {
                return Ok(Stop::Tail);
            }
            window.refresh();
        }
    }

    /// Whether the agent writes no more to a segment.
    fn is_settled(&self, first: u64) -> bool {
        self.listing.end.is_some() || self.segment_after(first).is_some()
    }

    fn segment_after(&self, first: u64) -> Option<u64> {
        let at = self.listing.segments.partition_point(|other| *other <= first);
        self.listing.segments.get(at).copied()
    }

    /// Says that everything up to `to` is missing, if it is. False if the page has no room for that.
    fn pass_gap(&mut self, to: u64) -> bool {
        if to <= self.wanted {
            return true;
        }
        if self.page.is_full() {
            return false;
        }
        self.page.gap(self.wanted, to);
        self.wanted = to;
        true
    }

    /// The next place in the segment where a sound block begins that was not passed yet: where it was found broken, if it
    /// was only not written to its end yet.
    ///
    /// Only places that the block itself or the index names: bytes that look like a block elsewhere may be the
    /// command's own.
    fn behind(&self, window: &mut Window, offset: u64, skip: Option<u64>) -> io::Result<Option<u64>> {
        let places = window.segment().places_after(offset)?;
        for place in skip.map(|length| offset + length).into_iter().chain(places) {
            if matches!(window.at(place)?, Found::Block(header, _) if header.next() > self.seen) {
                // This one was written later: what stands before it is whole by now, if it ever was to be.
                window.refresh();
                let is_whole = matches!(window.at(offset)?, Found::Block(..));
                return Ok(Some(if is_whole { offset } else { place }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::Path;

    use runvoy_core::id::ExecutionId;
    use runvoy_task::block::{Stream, Tail, encode};
    use runvoy_task::layout;

    use super::super::cache::Cache;
    use super::*;
    use crate::task_dir::layout::execution_dir;

    fn block(first: u64, line: &[u8]) -> Vec<u8> {
        let (stream, tail) = (Stream::Stdout, Tail::Newline);
        let mut block = Vec::new();
        encode(&Header { len: 0, events: 1, first, time_ms: 1, stream, tail }, line, &mut block);
        block
    }

    fn append(log: &Path, extension: &str, bytes: &[u8]) {
        let path = log.join(layout::segment_name(0, extension));
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    /// A writer that is quicker than its reader, who saw the beginning of a block and then what follows it.
    #[test]
    fn a_block_that_was_being_written_is_no_gap_though_others_follow_it() {
        let root = tempfile::tempdir().unwrap();
        let id = ExecutionId::from_u128(7);
        let dir = execution_dir(root.path(), id).join(layout::LOG);
        fs::create_dir_all(&dir).unwrap();
        let (first, second) = (block(0, b"one\n"), block(1, b"two\n"));
        append(&dir, layout::SEGMENT_EXTENSION, &first[..first.len() - 2]);
        let log = Cache::new(root.path().to_owned()).log(id);
        let scan = Scan::new(&log, 0, PageBuilder::new(ReadLimit { events: 9, bytes: 99 })).unwrap();
        let mut window = Window::new(log.segment(0).unwrap());
        assert!(matches!(window.at(0).unwrap(), Found::Broken { skip: None }));

        append(&dir, layout::SEGMENT_EXTENSION, &[&first[first.len() - 2..], &second].concat());
        let entry = [1_u64.to_le_bytes(), (first.len() as u64).to_le_bytes()].concat();
        append(&dir, layout::INDEX_EXTENSION, &entry);
        assert_eq!(scan.behind(&mut window, 0, None).unwrap(), Some(0));
        assert!(matches!(window.at(0).unwrap(), Found::Block(header, _) if header.first == 0));
    }
}
