use std::time::Duration;

use tokio::time::Instant;

use super::{Caller, Error, Follow, Runvoy};
use crate::execution::Execution;
use crate::id::IdPrefix;
use crate::limits;
use crate::log::Cursor;
use crate::port::{Action, LogItem, LogPage, ReadLimit};

/// A page of very long lines ends after so many bytes, before its limit of events.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// Where a reader begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogStart {
    /// At the first line.
    #[default]
    Beginning,
    /// After a position.
    After(Cursor),
    /// So many events before the end, as it is now.
    Tail(u64),
}

/// Which part of a log to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Where to begin.
    pub start: LogStart,
    /// At most so many events, 1 to [`limits::PAGE`].
    pub limit: usize,
    /// How long to wait for the first of them, at most [`limits::WAIT_SECONDS`].
    pub wait: Duration,
}

/// A part of a log.
#[derive(Clone, Debug)]
pub struct LogRead {
    /// The record, read before the log.
    pub execution: Execution,
    /// The events, and gaps.
    pub items: Vec<LogItem>,
    /// The position to ask with next.
    pub next: Cursor,
    /// Set when the execution has ended and everything was read: whether nothing is missing.
    pub end: Option<bool>,
}

impl Runvoy {
    /// Reads a part of an execution's log, waiting for it if asked to.
    pub async fn logs(&self, caller: &Caller, id: &IdPrefix, query: LogQuery) -> Result<LogRead, Error> {
        let record = self.find_for(caller, Action::ReadLogs, id).await?;
        if !(1..=limits::PAGE).contains(&query.limit) {
            return Err(Error::invalid("limit", format!("1 to {}, this is {}", limits::PAGE, query.limit)));
        }
        if query.wait.as_secs() > limits::WAIT_SECONDS {
            return Err(Error::invalid("wait", format!("at most {} seconds", limits::WAIT_SECONDS)));
        }
        self.reveal_log(caller, &record, &query.start).await?;
        let mut reader = self.reader(caller, record, query.start).await?;
        let deadline = Instant::now() + query.wait;
        loop {
            reader.refresh().await?;
            let page = self.page_after(&reader, query.limit).await?;
            let end =
                if page.items.is_empty() || page.end.is_some() { reader.end_of_log(page.end) } else { None };
            let waited = Instant::now() >= deadline || self.is_draining();
            if end.is_some() || waited || !page.items.is_empty() {
                let execution = reader.execution().clone();
                return Ok(LogRead { execution, items: page.items, next: page.next, end });
            }
            // Both ways on look again.
            let _ = tokio::time::timeout_at(deadline, reader.wait()).await;
        }
    }

    async fn page_after(&self, reader: &Follow, limit: usize) -> Result<LogPage, Error> {
        let limit = ReadLimit { events: limit as u64, bytes: PAGE_BYTES };
        Ok(self.inner.logs.read(reader.execution().id, reader.cursor(), limit).await?)
    }
}
