use std::time::Duration;

use async_trait::async_trait;

use super::BoxError;
use crate::id::ExecutionId;
use crate::log::{Cursor, LogBlock};

/// How much to read at once. At least one item is read if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most so many events; a block may be cut to fit.
    pub events: u64,
    /// Stop after the block that reaches so many bytes.
    pub bytes: u64,
}

/// Something in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// Events.
    Block(LogBlock),
    /// Events that are missing for ever: `from` up to but without `to`.
    Gap {
        /// Number of the first missing event.
        from: u64,
        /// Number of the next event that is there.
        to: u64,
        /// The position after the gap.
        next: Cursor,
    },
}

impl LogItem {
    /// The position after it.
    pub fn next(&self) -> &Cursor {
        match self {
            Self::Block(block) => &block.next,
            Self::Gap { next, .. } => next,
        }
    }
}

/// The end of a log, from the record that the agent writes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Whether the log has every event that the agent counted. False also if a gap stands anywhere in it.
    pub complete: bool,
}

/// Part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// In the order of the log.
    pub items: Vec<LogItem>,
    /// The position after them.
    pub next: Cursor,
    /// Set when the log has ended and `next` is its end.
    pub end: Option<LogEnd>,
}

impl LogPage {
    /// The events, without what is missing between them.
    pub fn blocks(&self) -> impl Iterator<Item = &LogBlock> {
        self.items.iter().filter_map(|item| match item {
            LogItem::Block(block) => Some(block),
            LogItem::Gap { .. } => None,
        })
    }
}

/// What can go wrong when a log is read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The cursor is of another log, or of none.
    #[error("unknown cursor")]
    UnknownCursor,
    /// The log could not be read now.
    #[error("the log is not available")]
    Unavailable {
        /// Whether the same read may succeed later.
        retryable: bool,
        /// The backend's reason.
        source: BoxError,
    },
}

impl LogError {
    /// A read that may succeed later.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { retryable: true, source: source.into() }
    }
}

/// Reads the logs of tasks.
///
/// # Contract
///
/// - No byte is lost, none repeated, and each stream keeps its order: reading page after page, each after the last
///   one's `next`, gives what the command wrote, whoever reads, however often readers and servers restart.
/// - What is missing is told as a gap, never passed over in silence.
/// - An execution without a log (yet) reads as an empty page.
/// - `end` is set only after the agent's end record: the last page of a finished log. A log whose agent died without
///   one has no `end`.
/// - A cursor that this source did not give for this log, or that lies after its end, is [`LogError::UnknownCursor`].
#[async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// Reads what follows a position; the beginning where there is none. Never waits for more.
    async fn read(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        limit: ReadLimit,
    ) -> Result<LogPage, LogError>;

    /// The position after which the last `events` events stand that are there now; `None` for the beginning.
    async fn tail(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError>;

    /// Resolves when there may be something after a position, at the latest after `at_most`.
    ///
    /// A hint: it may resolve early, and for nothing. What was there before the call resolves it at once.
    async fn changed(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        at_most: Duration,
    ) -> Result<(), LogError>;
}
