use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runvoy_core::clock::SharedClock;
use runvoy_core::id::ExecutionId;
use runvoy_core::limits::LINE_BYTES;
use runvoy_core::log::{Cursor, Stream, Tail};
use runvoy_core::port::{LogEnd, LogError, LogPage, LogSource, ReadLimit};
use tokio::sync::Notify;

use crate::page::{About, PageBuilder};

/// Logs in memory, written through [`MemoryLogs::writer`].
pub struct MemoryLogs {
    clock: SharedClock,
    logs: Mutex<HashMap<ExecutionId, Log>>,
}

#[derive(Default)]
struct Log {
    blocks: Vec<(About, Bytes)>,
    /// Number of the next event.
    next: u64,
    has_gaps: bool,
    ended: bool,
    changed: Arc<Notify>,
}

impl MemoryLogs {
    /// No logs yet. Events carry the time of `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, logs: Mutex::default() }
    }

    /// Writes the log of an execution.
    pub fn writer(self: &Arc<Self>, id: ExecutionId) -> MemoryLogWriter {
        MemoryLogWriter { id, logs: Arc::clone(self) }
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<ExecutionId, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where reading goes on, and what to wait for if there is nothing.
    fn look(&self, id: ExecutionId, after: Option<&Cursor>) -> Result<(bool, Arc<Notify>), LogError> {
        let mut logs = self.logs();
        let log = logs.entry(id).or_default();
        let wanted = log.wanted(after)?;
        Ok((log.ended || wanted < log.next, Arc::clone(&log.changed)))
    }
}

impl Log {
    fn wanted(&self, after: Option<&Cursor>) -> Result<u64, LogError> {
        let wanted = after.map_or(Some(0), Cursor::next_event);
        wanted.filter(|wanted| *wanted <= self.next).ok_or(LogError::UnknownCursor)
    }

    fn read(&self, mut wanted: u64, limit: ReadLimit) -> LogPage {
        let mut page = PageBuilder::new(limit);
        let start = self.blocks.partition_point(|(about, _)| about.next <= wanted);
        for (about, bytes) in self.blocks.iter().skip(start) {
            if page.is_full() {
                break;
            }
            if about.first > wanted {
                page.gap(wanted, about.first);
                wanted = about.first;
            }
            wanted = page.push(*about, bytes, wanted);
        }
        let last = self.blocks.last().map_or(0, |(about, _)| about.next);
        if wanted >= last && wanted < self.next && !page.is_full() {
            page.gap(wanted, self.next);
            wanted = self.next;
        }
        let end = (self.ended && wanted == self.next).then_some(LogEnd { complete: !self.has_gaps });
        LogPage { items: page.finish(0), next: Cursor::before_event(wanted), end }
    }

    fn add(&mut self, timestamp: i64, stream: Stream, tail: Tail, bytes: Bytes) {
        let newlines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let next = self.next + newlines + u64::from(tail != Tail::Newline);
        self.blocks.push((About { first: self.next, next, timestamp, stream, tail }, bytes));
        self.next = next;
    }
}

/// The writing end of one log.
#[derive(Clone)]
pub struct MemoryLogWriter {
    id: ExecutionId,
    logs: Arc<MemoryLogs>,
}

impl MemoryLogWriter {
    /// Appends what a command wrote. A line without a newline at the end goes on in the stream's next bytes.
    pub fn append(&self, stream: Stream, bytes: impl Into<Bytes>) {
        self.add(stream, bytes.into(), Tail::Part);
    }

    /// Appends the last bytes of a stream.
    pub fn close(&self, stream: Stream, bytes: impl Into<Bytes>) {
        self.add(stream, bytes.into(), Tail::NoNewline);
    }

    /// Leaves out events, as if they had been lost.
    pub fn lose(&self, events: u64) {
        self.change(|log| {
            log.next += events;
            log.has_gaps |= events > 0;
        });
    }

    /// Ends the log: nothing comes after that.
    pub fn end(&self) {
        self.change(|log| log.ended = true);
    }

    fn add(&self, stream: Stream, mut bytes: Bytes, rest: Tail) {
        let timestamp = self.logs.clock.now().as_millisecond();
        self.change(|log| {
            while !bytes.is_empty() && !log.ended {
                let window = bytes.get(..LINE_BYTES.min(bytes.len())).unwrap_or_default();
                let (cut, tail) = match memchr::memrchr(b'\n', window) {
                    Some(at) => (at + 1, Tail::Newline),
                    None => (window.len(), if window.len() == bytes.len() { rest } else { Tail::Part }),
                };
                log.add(timestamp, stream, tail, bytes.split_to(cut));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let mut logs = self.logs.logs();
        let log = logs.entry(self.id).or_default();
        change(log);
        log.changed.notify_waiters();
    }
}

#[async_trait]
impl LogSource for MemoryLogs {
    async fn read(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        limit: ReadLimit,
    ) -> Result<LogPage, LogError> {
        let nothing = Log::default();
        let logs = self.logs();
        let log = logs.get(&id).unwrap_or(&nothing);
        Ok(log.read(log.wanted(after)?, limit))
    }

    async fn tail(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError> {
        let next = self.logs().get(&id).map_or(0, |log| log.next);
        Ok(next.checked_sub(events).filter(|first| *first > 0).map(Cursor::before_event))
    }

    async fn changed(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        at_most: Duration,
    ) -> Result<(), LogError> {
        let (_, notify) = self.look(id, after)?;
        // Created before the look that counts, so that nothing between the two goes unnoticed.
        let changed = notify.notified();
        if !self.look(id, after)?.0 {
            // Late is as good as changed.
            let _ = tokio::time::timeout(at_most, changed).await;
        }
        Ok(())
    }
}
