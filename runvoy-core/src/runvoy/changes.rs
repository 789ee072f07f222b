use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::id::ExecutionId;

/// Tells who waits for an execution that its record has changed in this process.
///
/// What changes in another process is found by looking again now and then.
#[derive(Default)]
pub(crate) struct Changes {
    waiting: Mutex<HashMap<ExecutionId, watch::Sender<()>>>,
}

impl Changes {
    /// From now on, hears of changes of `id`.
    pub(crate) fn subscribe(self: &Arc<Self>, id: ExecutionId) -> Subscription {
        let receiver = self.lock().entry(id).or_insert_with(|| watch::Sender::new(())).subscribe();
        Subscription { id, receiver, changes: Arc::clone(self) }
    }

    /// Wakes who waits for `id`.
    pub(crate) fn wake(&self, id: ExecutionId) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_replace(());
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait; given up on drop.
pub(crate) struct Subscription {
    id: ExecutionId,
    receiver: watch::Receiver<()>,
    changes: Arc<Changes>,
}

impl Subscription {
    /// Resolves at the first change since the last call (or the subscription). Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The sender lives as long as a subscription does, so this is unreachable; waiting is harmless.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.changes.lock();
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.id);
        }
    }
}
