use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::OnceCell;

use crate::id::ExecutionId;
use crate::log::Cursor;
use crate::port::{LogError, LogPage, LogSource, ReadLimit};

/// How much of a log is read, encoded and sent at once.
const PAGE: ReadLimit = ReadLimit { events: 20_000, bytes: 128 * 1024 };
/// Pages remembered: 4 MiB of text, and as much again encoded, or several times that where most of it is escaped.
const PAGES: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not zero");

/// Part of a log that many followers share.
#[derive(Debug)]
pub struct SharedPage {
    page: LogPage,
    encoded: OnceLock<Bytes>,
}

impl SharedPage {
    /// What was read.
    pub fn page(&self) -> &LogPage {
        &self.page
    }

    /// The page in a front-end's encoding, made once for all who are sent it.
    pub fn encoded(&self, encode: impl FnOnce(&LogPage) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(&self.page)).clone()
    }
}

type Key = (ExecutionId, Option<Cursor>);
type Cell = Arc<OnceCell<Arc<SharedPage>>>;

/// Pages that were read lately: a hundred followers of one log cost one read and one encoding.
pub(crate) struct PageCache(Mutex<LruCache<Key, Cell>>);

impl Default for PageCache {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(PAGES)))
    }
}

impl PageCache {
    /// What follows `after`, from memory or from the source. Who asks while it is being read waits for that.
    pub(crate) async fn read(
        &self,
        logs: &dyn LogSource,
        id: ExecutionId,
        after: Option<&Cursor>,
    ) -> Result<Arc<SharedPage>, LogError> {
        let key = (id, after.cloned());
        let cell = Arc::clone(self.lock().get_or_insert(key.clone(), Cell::default));
        let read = || async {
            let page = logs.read(id, after, PAGE).await?;
            Ok(Arc::new(SharedPage { page, encoded: OnceLock::new() }))
        };
        let shared = cell.get_or_try_init(read).await.cloned();
        // An empty page is no news: there may be more the next time.
        if shared.as_ref().map_or(true, |shared: &Arc<SharedPage>| shared.page.items.is_empty()) {
            let mut pages = self.lock();
            if pages.peek(&key).is_some_and(|held| Arc::ptr_eq(held, &cell)) {
                pages.pop(&key);
            }
        }
        shared
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Key, Cell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
