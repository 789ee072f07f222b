use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::port::TraceLevel;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::files::Files;
use super::record::Record;

/// Lines and flushes that may wait; bytes are counted besides.
const WAITING: usize = 16 * 1024;
/// Bytes that are written at once.
const BATCH: usize = 256 * 1024;

enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// What is on its way to the file.
#[derive(Clone)]
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    state: Arc<State>,
}

struct State {
    /// Bytes that wait.
    bytes: AtomicUsize,
    most: usize,
    /// Lines that were lost and not told of yet.
    lost: AtomicU64,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("bytes", &self.state.bytes).finish_non_exhaustive()
    }
}

impl Queue {
    /// Sends a line on its way, or counts it as lost. Never waits.
    pub(super) fn send(&self, record: &Record) {
        let line = record.to_line();
        let bytes = line.len();
        let waiting = self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > self.state.most || self.messages.try_send(Message::Line(line)).is_err() {
            self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was sent before is written.
    pub(super) async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        if self.messages.send(Message::Flush(tell)).await.is_ok() {
            // A thread that is gone flushes nothing more.
            let _ = told.await;
        }
    }
}

/// Starts the thread that writes. It ends once every [`Queue`] is gone.
pub(super) fn start(files: Arc<Files>, most: usize) -> io::Result<Queue> {
    let (messages, waiting) = mpsc::channel(WAITING);
    let state = Arc::new(State { bytes: AtomicUsize::new(0), most, lost: AtomicU64::new(0) });
    let of_thread = Arc::clone(&state);
    let thread = thread::Builder::new().name("server-log".to_owned());
    thread.spawn(move || write_all(&files, &of_thread, waiting))?;
    Ok(Queue { messages, state })
}

fn write_all(files: &Files, state: &State, mut waiting: mpsc::Receiver<Message>) {
    while let Some(first) = waiting.blocking_recv() {
        let (mut batch, mut lines, mut flushes) = (Vec::new(), 0_u64, Vec::new());
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Line(line) => {
                    state.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Flush(tell) => flushes.push(tell),
            }
            if batch.len() < BATCH {
                next = waiting.try_recv().ok();
            }
        }
        let lost = state.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.extend(confession(lost, SystemClock.now()));
        }
        if !batch.is_empty() && files.append(&batch).is_err() {
            // A full disk, say. The next line that can be written tells of these.
            state.lost.fetch_add(lines + lost, Ordering::Relaxed);
        }
        for tell in flushes {
            // Nobody may wait any more.
            let _ = tell.send(());
        }
    }
}

/// The line that says how many are missing before it.
fn confession(lost: u64, at: Timestamp) -> Vec<u8> {
    let record = Record {
        at,
        level: TraceLevel::Warn,
        target: module_path!().to_owned(),
        request: None,
        message: "lines of the log were lost".to_owned(),
        fields: Map::from_iter([("lines".to_owned(), Value::from(lost))]),
    };
    record.to_line()
}
