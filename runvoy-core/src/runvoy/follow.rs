#[cfg(feature = "http")]
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
#[cfg(feature = "http")]
use tokio::time::sleep;

use super::changes::Subscription;
use super::{Caller, Error, LogStart, Runvoy, SharedPage, Waiting};
use crate::execution::Execution;
use crate::id::IdPrefix;
use crate::log::Cursor;
use crate::port::{Action, LogEnd, Progress};
use crate::state::{Reason, Status};

/// What a follower is told.
#[derive(Clone, Debug)]
pub enum FollowItem {
    /// The status, the place in the line, or the progress is new to this follower. A terminal status is told by `End` alone.
    Status {
        /// The record.
        execution: Box<Execution>,
        /// Its place in the line for its lock, while it waits.
        waiting: Option<Waiting>,
        /// How far it is on its way to its command.
        progress: Option<Progress>,
    },
    /// More of the log.
    Page(Arc<SharedPage>),
    /// The last line was told and the execution has ended.
    End {
        /// Its record.
        execution: Box<Execution>,
        /// Whether the log has everything that the command wrote.
        complete: bool,
    },
}

/// What a follower was last told of the status.
#[derive(PartialEq, Eq)]
struct Told {
    status: Status,
    reason: Option<Reason>,
    waiting: Option<Waiting>,
    progress: Option<Progress>,
}

/// One reader of one execution: every line from where it started, each once, to the end.
///
/// Long-poll, streams and library callers all read through this.
pub struct Follow {
    runvoy: Runvoy,
    caller: Caller,
    key_changes: watch::Receiver<u64>,
    record: Execution,
    cursor: Option<Cursor>,
    changes: Subscription,
    told: Option<Told>,
    /// When the task was first seen to be over while its log had no end.
    waiting_for_end: Option<Instant>,
    ended: bool,
}

impl Runvoy {
    /// Follows an execution. The reveal of its log is recorded, once for all of it.
    pub async fn follow(&self, caller: &Caller, id: &IdPrefix, start: LogStart) -> Result<Follow, Error> {
        let record = self.find_for(caller, Action::ReadLogs, id).await?;
        self.reveal_log(caller, &record, &start).await?;
        self.reader(caller, record, start).await
    }

    /// A reader for somebody who is allowed to read.
    pub(super) async fn reader(
        &self,
        caller: &Caller,
        record: Execution,
        start: LogStart,
    ) -> Result<Follow, Error> {
        let cursor = match start {
            LogStart::Beginning => None,
            LogStart::After(cursor) => Some(cursor),
            LogStart::Tail(events) => self.inner.logs.tail(record.id, events).await?,
        };
        // An unknown cursor, or a log that cannot be read, is told now, not in the middle of a stream.
        self.inner.pages.read(self.inner.logs.as_ref(), record.id, cursor.as_ref()).await?;
        Ok(Follow {
            runvoy: self.clone(),
            caller: caller.clone(),
            key_changes: self.inner.key_changes.subscribe(),
            changes: self.inner.changes.subscribe(record.id),
            record,
            cursor,
            told: None,
            waiting_for_end: None,
            ended: false,
        })
    }
}

impl Follow {
    /// The next thing to tell, waiting for it. Cancel-safe: what was not told is told next.
    ///
    /// An error of [`Error::Unauthenticated`] once the reader's key is worthless: at once where it was made so by this
    /// process, at the next look by itself where it expired, else within [`limits::KEY_RECHECK`](crate::limits::KEY_RECHECK).
    ///
    /// `None` after the end, and when the service drains: then [`cursor`](Self::cursor) tells where to go on.
    pub async fn next(&mut self) -> Result<Option<FollowItem>, Error> {
        loop {
            if self.ended {
                return Ok(None);
            }
            self.refresh().await?;
            if let Some(status) = self.news_of_status().await? {
                return Ok(Some(status));
            }
            let inner = &self.runvoy.inner;
            let page = inner.pages.read(inner.logs.as_ref(), self.record.id, self.cursor.as_ref()).await?;
            if !page.page().items.is_empty() {
                self.cursor = Some(page.page().next.clone());
                return Ok(Some(FollowItem::Page(page)));
            }
            if let Some(complete) = self.end_of_log(page.page().end) {
                self.ended = true;
                return Ok(Some(FollowItem::End { execution: Box::new(self.record.clone()), complete }));
            }
            if self.runvoy.is_draining() {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Resolves once there is to be no more telling, whatever is left: with the error of [`next`](Self::next) when the
    /// reader's key is worthless, as soon as that would say it, and without one when the service drains. For whoever takes
    /// long to pass on what was told. Cancel-safe.
    #[cfg(feature = "http")]
    pub(crate) async fn cut_off(&mut self) -> Result<(), Error> {
        let (draining, poll) = (self.runvoy.draining(), self.runvoy.inner.config.poll);
        let mut draining = pin!(draining);
        loop {
            self.runvoy.confirm(&mut self.caller.standing).await?;
            tokio::select! {
                () = &mut draining => return Ok(()),
                // The sender lives as long as the service does.
                _ = self.key_changes.changed() => {}
                // A key that expires, or is revoked elsewhere, tells nobody.
                () = sleep(poll) => {}
            }
        }
    }

    /// Whether a reader who has read all there is has reached the end, and then whether the log is complete.
    ///
    /// The record has to be read before the log is: then a log that is at its end holds all of a finished task.
    pub(super) fn end_of_log(&mut self, end: Option<LogEnd>) -> Option<bool> {
        if !self.record.status.is_terminal() {
            return None;
        }
        if let Some(end) = end {
            return Some(end.complete);
        }
        if !self.record.is_claimed() {
            // The command never ran: nothing is all there is.
            return Some(true);
        }
        let settle = self.runvoy.inner.config.log_settle;
        // Who comes late, or asks page by page, need not wait anew.
        let now = self.runvoy.inner.clock.now();
        let ended_long_ago = self.record.completed_at.is_some_and(|at| {
            now.duration_since(at).max(jiff::SignedDuration::ZERO).unsigned_abs() >= settle
        });
        let since = *self.waiting_for_end.get_or_insert_with(Instant::now);
        (ended_long_ago || since.elapsed() >= settle).then_some(false)
    }

    /// Waits until there may be something new.
    pub(super) async fn wait(&mut self) -> Result<(), Error> {
        let inner = &self.runvoy.inner;
        // Who waits in line has no log, and is woken when the line moves: a thousand of them should cost nothing.
        let in_line = self.record.status == Status::Queued;
        let poll = if in_line { inner.config.poll_in_line } else { inner.config.poll };
        let more = inner.logs.changed(self.record.id, self.cursor.as_ref(), poll);
        // All branches only say "look again", so dropping any of them loses nothing.
        tokio::select! {
            () = self.changes.changed() => Ok(()),
            // The sender lives as long as the service does.
            _ = self.key_changes.changed() => Ok(()),
            result = more => Ok(result?),
        }
    }

    async fn news_of_status(&mut self) -> Result<Option<FollowItem>, Error> {
        if self.record.status.is_terminal() {
            return Ok(None);
        }
        let waiting = self.runvoy.waiting(&self.record).await?;
        let unclaimed = self.record.status == Status::Starting;
        let progress = unclaimed.then(|| self.runvoy.inner.executor.progress(self.record.id)).flatten();
        let now = Told {
            status: self.record.status,
            reason: self.record.status_reason,
            waiting: waiting.clone(),
            progress: progress.clone(),
        };
        if self.told.as_ref() == Some(&now) {
            return Ok(None);
        }
        self.told = Some(now);
        Ok(Some(FollowItem::Status { execution: Box::new(self.record.clone()), waiting, progress }))
    }

    /// Reads the record anew, for a reader whose key is still good.
    pub(super) async fn refresh(&mut self) -> Result<(), Error> {
        self.runvoy.confirm(&mut self.caller.standing).await?;
        self.record = self.runvoy.get_record(self.record.id).await?;
        Ok(())
    }

    /// The record as it was last read.
    pub fn execution(&self) -> &Execution {
        &self.record
    }

    /// The position after what was told; `None` at the beginning.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }
}
