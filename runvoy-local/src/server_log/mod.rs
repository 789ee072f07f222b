//! The server's own log as JSON lines in a few files of bounded size, which are also read, by request.
//!
//! Whoever logs never waits: lines go to a thread by a queue, and where that is full they are counted instead, and the
//! log says how many.

mod files;
mod layer;
mod record;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runvoy_core::id::RequestId;
use runvoy_core::port::{StoreError, TraceLine, TraceLog};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use files::Files;
use layer::RecordLayer;
use record::Record;
use writer::Queue;

/// Time for lines that are under way to reach the file.
const FLUSH: Duration = Duration::from_secs(2);
/// Time for a read of all files.
const READ: Duration = Duration::from_secs(10);

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLogLimits {
    /// Bytes of one file: the next line begins another.
    pub file_bytes: u64,
    /// Files, the one that is written included; the oldest is deleted for a new one.
    pub files: usize,
    /// Bytes that may wait to be written.
    pub queue_bytes: usize,
}

impl Default for ServerLogLimits {
    fn default() -> Self {
        Self { file_bytes: 8 * 1024 * 1024, files: 8, queue_bytes: 4 * 1024 * 1024 }
    }
}

/// The log of a server: `server.jsonl`, and `server.1.jsonl` and so on, the older the higher.
///
/// Clones are the same log. Its thread ends with the last of them and of its layers.
#[derive(Clone, Debug)]
pub struct ServerLog {
    queue: Queue,
    files: Arc<Files>,
    /// Reads take turns: each is bounded in memory by a file.
    turn: Arc<Semaphore>,
}

impl ServerLog {
    /// Goes on with the log of a directory, or begins one. Its files are for their owner alone.
    pub fn open(dir: &Path, limits: ServerLogLimits) -> io::Result<Self> {
        let files = Arc::new(Files::open(dir, limits)?);
        let queue = writer::start(Arc::clone(&files), limits.queue_bytes)?;
        Ok(Self { queue, files, turn: Arc::new(Semaphore::new(1)) })
    }

    /// What puts events into it: those of the server's own life, and every request.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        RecordLayer::new(self.queue.clone()).with_filter(layer::filter())
    }

    /// Waits, a moment at most, until what was logged before is in the file.
    pub async fn flush(&self) {
        if timeout(FLUSH, self.queue.flush()).await.is_err() {
            tracing::debug!("the server's log is behind");
        }
    }

    /// Writes a line past the layer.
    #[doc(hidden)]
    pub fn write(&self, request: Option<RequestId>, line: TraceLine) {
        let TraceLine { at, level, message } = line;
        let target = module_path!().to_owned();
        self.queue.send(&Record { at, level, target, request, message, fields: serde_json::Map::new() });
    }

    async fn read_lines(&self, request: RequestId, limit: usize) -> Result<Vec<TraceLine>, StoreError> {
        let _turn = self.turn.acquire().await.map_err(StoreError::unavailable)?;
        let files = Arc::clone(&self.files);
        let reading = tokio::task::spawn_blocking(move || files.read(request, limit));
        reading.await.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
    }
}

#[async_trait]
impl TraceLog for ServerLog {
    async fn read(&self, request: RequestId, limit: usize) -> Result<Vec<TraceLine>, StoreError> {
        self.flush().await;
        let reading = timeout(READ, self.read_lines(request, limit)).await;
        reading.unwrap_or_else(|late| Err(StoreError::unavailable(late)))
    }
}
