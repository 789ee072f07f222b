//! Reads the log segments that agents write.

mod cache;
mod pool;
mod reader;
mod segment;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::Cursor;
use runvoy_core::port::{LogEnd, LogError, LogPage, LogSource, ReadLimit};
use tokio::time::{Instant, timeout_at};

use self::cache::{Cache, OpenLog};
use self::pool::Pool;
use self::watch::Watch;

/// Notifications may be lost: who waits looks again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The logs under a data directory, as agents write them.
///
/// Reads on two threads of its own and waits on one inotify instance; both end with it. A cursor is the number of
/// the event that follows.
pub struct LogFiles {
    cache: Arc<Cache>,
    pool: Pool,
    watch: Watch,
}

impl LogFiles {
    /// Reads under `root`, the directory that was given to the executor. To be called within a runtime.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let watch = Watch::new(root.clone())?;
        Ok(Self { cache: Arc::new(Cache::new(root)), pool: Pool::new()?, watch })
    }

    /// Closes the files of a log, for whoever deletes it.
    pub fn forget(&self, id: ExecutionId) {
        self.cache.forget(id);
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        id: ExecutionId,
        job: impl FnOnce(&OpenLog) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        let cache = Arc::clone(&self.cache);
        self.pool.run(move || job(&cache.log(id))).await.map_err(LogError::unavailable)
    }
}

#[async_trait]
impl LogSource for LogFiles {
    async fn read(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        limit: ReadLimit,
    ) -> Result<LogPage, LogError> {
        let after = after.cloned();
        let read = self.on_thread(id, move |log| reader::read(log, after.as_ref(), limit)).await??;
        let mut page = read.page;
        if read.unchecked {
            // A reader that began late: whether the log is complete depends on what it did not read.
            let complete = loop {
                let checked = self.on_thread(id, reader::check).await?;
                if let Some(complete) = checked.map_err(LogError::unavailable)? {
                    break complete;
                }
            };
            page.end = Some(LogEnd { complete });
        }
        Ok(page)
    }

    async fn tail(&self, id: ExecutionId, events: u64) -> Result<Option<Cursor>, LogError> {
        let tail = self.on_thread(id, move |log| reader::tail(log, events)).await?;
        tail.map_err(LogError::unavailable)
    }

    async fn changed(
        &self,
        id: ExecutionId,
        after: Option<&Cursor>,
        at_most: Duration,
    ) -> Result<(), LogError> {
        let until = Instant::now() + at_most;
        let waiter = self.watch.wait(id);
        loop {
            // Created before the look, so that nothing between the two goes unnoticed.
            let changed = waiter.notify.notified();
            let (registration, after) = (waiter.registration(), after.cloned());
            let look = move |log: &OpenLog| {
                registration.watch();
                reader::has_more(log, after.as_ref())
            };
            if self.on_thread(id, look).await?? {
                return Ok(());
            }
            let again = until.min(Instant::now() + LOOK_AGAIN);
            if timeout_at(again, changed).await.is_ok() || Instant::now() >= until {
                return Ok(());
            }
        }
    }
}
