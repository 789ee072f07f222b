//! Logs that were read lately: their open segments, and what is known for good.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use runvoy_core::id::ExecutionId;
use runvoy_task::layout;

use super::segment::Segment;
use crate::task_dir::end;
use crate::task_dir::layout::execution_dir;

/// Logs kept.
const LOGS: usize = 32;
/// Open segments kept for each.
const SEGMENTS: usize = 2;

/// The least recently used is forgotten first.
struct Recent<K, V> {
    entries: Vec<(K, V)>,
    room: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    const fn new(room: usize) -> Self {
        Self { entries: Vec::new(), room }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let at = self.entries.iter().position(|(other, _)| other == key)?;
        self.entries.get_mut(..=at)?.rotate_right(1);
        self.entries.first().map(|(_, value)| value.clone())
    }

    fn keep_if(&mut self, is_kept: impl Fn(&V) -> bool) {
        self.entries.retain(|(_, value)| is_kept(value));
    }

    fn put(&mut self, key: K, value: V) {
        self.entries.truncate(self.room - 1);
        self.entries.insert(0, (key, value));
    }
}

/// The logs of a data directory.
pub(super) struct Cache {
    root: PathBuf,
    logs: Mutex<Recent<ExecutionId, Arc<OpenLog>>>,
}

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, logs: Mutex::new(Recent::new(LOGS)) }
    }

    /// The log of an execution, which need not be there.
    ///
    /// One whose files were deleted is looked at anew. Another one that has to be opened closes them all: as long as
    /// they are open, they take room on the disk.
    pub(super) fn log(&self, id: ExecutionId) -> Arc<OpenLog> {
        let mut logs = lock(&self.logs);
        if let Some(log) = logs.get(&id).filter(|log| !log.is_gone()) {
            return log;
        }
        logs.keep_if(|log| !log.is_gone());
        let log = Arc::new(OpenLog::new(execution_dir(&self.root, id)));
        logs.put(id, Arc::clone(&log));
        log
    }

    /// Closes the files of an execution.
    pub(super) fn forget(&self, id: ExecutionId) {
        lock(&self.logs).entries.retain(|(other, _)| *other != id);
    }
}

/// A place between two blocks.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Number of the event that follows.
    pub(super) event: u64,
    /// First event of the segment.
    pub(super) segment: u64,
    /// Where in the segment.
    pub(super) offset: u64,
}

/// One log.
pub(super) struct OpenLog {
    dir: PathBuf,
    log: PathBuf,
    known: Mutex<Known>,
    open: Mutex<Recent<u64, Arc<Segment>>>,
}

#[derive(Clone, Default)]
struct Known {
    /// The first events of the segments, in order.
    segments: Arc<[u64]>,
    /// Events by the end record; `segments` is final then.
    end: Option<u64>,
    /// Where the last read ended: followers go on from there.
    last: Option<Place>,
    /// Everything before this event was read and is sound.
    sound_to: u64,
    gaps: bool,
}

/// What a reader goes by. The end was looked for before the segments were listed.
pub(super) struct Listing {
    /// The first events of the segments, in order.
    pub(super) segments: Arc<[u64]>,
    /// Events by the end record.
    pub(super) end: Option<u64>,
}

impl OpenLog {
    fn new(dir: PathBuf) -> Self {
        let log = dir.join(layout::LOG);
        Self { dir, log, known: Mutex::default(), open: Mutex::new(Recent::new(SEGMENTS)) }
    }

    /// Whether somebody deleted a file of it that is open.
    fn is_gone(&self) -> bool {
        lock(&self.open).entries.iter().any(|(_, segment)| segment.is_deleted())
    }

    /// Whether there is an end, then the segments. A finished log is not looked at again.
    pub(super) fn listing(&self) -> io::Result<Listing> {
        let known = lock(&self.known).clone();
        if known.end.is_some() {
            return Ok(Listing { segments: known.segments, end: known.end });
        }
        let end = end::record(&self.dir)?.map(|end| end.events);
        let segments =
            if end.is_some() || known.segments.is_empty() { list(&self.log)? } else { known.segments };
        Ok(self.learn(segments, end))
    }

    /// The segments that are there now.
    pub(super) fn list_again(&self) -> io::Result<Arc<[u64]>> {
        Ok(self.learn(list(&self.log)?, None).segments)
    }

    /// What somebody else found out about the end in the meantime is final.
    fn learn(&self, segments: Arc<[u64]>, end: Option<u64>) -> Listing {
        let mut known = lock(&self.known);
        if known.end.is_none() {
            (known.segments, known.end) = (segments, end);
        }
        Listing { segments: Arc::clone(&known.segments), end: known.end }
    }

    pub(super) fn segment(&self, first: u64) -> io::Result<Arc<Segment>> {
        if let Some(segment) = lock(&self.open).get(&first) {
            return Ok(segment);
        }
        // One that is gone since it was listed: nothing is known for good any more.
        let segment =
            Segment::open(&self.dir, first).inspect_err(|_| *lock(&self.known) = Known::default())?;
        let segment = Arc::new(segment);
        lock(&self.open).put(first, Arc::clone(&segment));
        Ok(segment)
    }

    /// A place before an event, if a read ended there.
    pub(super) fn place(&self, event: u64) -> Option<Place> {
        lock(&self.known).last.filter(|place| place.event == event)
    }

    /// Notes what a read from one event to another found.
    pub(super) fn note(&self, from: u64, to: u64, gaps: bool, place: Option<Place>) {
        let mut known = lock(&self.known);
        known.gaps |= gaps;
        if from <= known.sound_to && !gaps {
            known.sound_to = known.sound_to.max(to);
        }
        if place.is_some() {
            known.last = place;
        }
    }

    /// Everything before the first is sound; whether a gap was seen anywhere.
    pub(super) fn soundness(&self) -> (u64, bool) {
        let known = lock(&self.known);
        (known.sound_to, known.gaps)
    }
}

fn list(log: &Path) -> io::Result<Arc<[u64]>> {
    let entries = match fs::read_dir(log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        segments.extend(entry?.file_name().to_str().and_then(layout::segment_first));
    }
    segments.sort_unstable();
    Ok(segments.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
