//! Wakes those who wait for a log: one inotify instance for all of them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use runvoy_core::id::ExecutionId;
use runvoy_task::layout;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::task_dir::layout::execution_dir;

/// Room for the events of one read.
const BUFFER: usize = 16 * 1024;

/// Watches the directories of logs that somebody waits for.
pub(super) struct Watch {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    root: PathBuf,
    watches: Watches,
    waited: Mutex<Waited>,
}

#[derive(Default)]
struct Waited {
    logs: HashMap<ExecutionId, Waiters>,
    ids: HashMap<WatchDescriptor, ExecutionId>,
}

struct Waiters {
    count: usize,
    notify: Arc<Notify>,
    /// Of the execution's directory, then of its log.
    descriptors: [Option<WatchDescriptor>; 2],
}

impl Watch {
    /// Starts the watcher, on the runtime that this is called in.
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let shared = Arc::new(Shared { root, watches: inotify.watches(), waited: Mutex::default() });
        let stream = inotify.into_event_stream(vec![0; BUFFER])?;
        let task = tokio::spawn(dispatch(stream, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Registers somebody who waits, until what it answers is dropped.
    pub(super) fn wait(&self, id: ExecutionId) -> Waiter {
        let mut waited = self.shared.waited();
        let waiters = waited.logs.entry(id).or_insert_with(|| Waiters {
            count: 0,
            notify: Arc::default(),
            descriptors: [None, None],
        });
        waiters.count += 1;
        Waiter { id, notify: Arc::clone(&waiters.notify), shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody who waits for a log.
pub(super) struct Waiter {
    id: ExecutionId,
    /// Notified of every change.
    pub(super) notify: Arc<Notify>,
    shared: Arc<Shared>,
}

/// A registration without the right to end it: for the thread that does the path lookups.
#[derive(Clone)]
pub(super) struct Registration {
    id: ExecutionId,
    shared: Arc<Shared>,
}

impl Waiter {
    pub(super) fn registration(&self) -> Registration {
        Registration { id: self.id, shared: Arc::clone(&self.shared) }
    }
}

impl Registration {
    /// Begins to watch what is there of the log and is not watched yet.
    pub(super) fn watch(&self) {
        let dir = execution_dir(&self.shared.root, self.id);
        let paths = [dir.clone(), dir.join(layout::LOG)];
        let masks = [WatchMask::CREATE | WatchMask::MOVED_TO, WatchMask::CREATE | WatchMask::MODIFY];
        let mut waited = self.shared.waited();
        let Waited { logs, ids } = &mut *waited;
        // Gone if the waiter gave up in the meantime.
        let Some(waiters) = logs.get_mut(&self.id) else { return };
        for ((path, mask), slot) in paths.iter().zip(masks).zip(&mut waiters.descriptors) {
            if slot.is_some() {
                continue;
            }
            match self.shared.watches.clone().add(path, mask | WatchMask::ONLYDIR) {
                Ok(descriptor) => {
                    ids.insert(descriptor.clone(), self.id);
                    *slot = Some(descriptor);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!(%error, "a log is not watched; it is looked at every second"),
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waited = self.shared.waited();
        let Waited { logs, ids } = &mut *waited;
        let Some(waiters) = logs.get_mut(&self.id) else { return };
        waiters.count -= 1;
        if waiters.count > 0 {
            return;
        }
        for descriptor in waiters.descriptors.iter_mut().filter_map(Option::take) {
            ids.remove(&descriptor);
            // Fails for a directory that is gone, and its watch with it.
            let _ = self.shared.watches.clone().remove(descriptor);
        }
        logs.remove(&self.id);
    }
}

impl Shared {
    fn waited(&self) -> MutexGuard<'_, Waited> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, event: &EventOwned) {
        let waited = self.waited();
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            waited.logs.values().for_each(|waiters| waiters.notify.notify_waiters());
        } else if matters(event.name.as_deref())
            && let Some(id) = waited.ids.get(&event.wd)
            && let Some(waiters) = waited.logs.get(id)
        {
            waiters.notify.notify_waiters();
        }
    }
}

/// Not the index, which is written along with a segment.
fn matters(name: Option<&OsStr>) -> bool {
    name.and_then(OsStr::to_str).is_some_and(|name| {
        name == layout::LOG || name == layout::END || layout::segment_first(name).is_some()
    })
}

async fn dispatch(mut events: EventStream<Vec<u8>>, shared: Arc<Shared>) {
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => shared.wake(&event),
            Err(error) => {
                tracing::warn!(%error, "logs are no longer watched; they are looked at every second");
                return;
            }
        }
    }
}
