//! Starts under way, how far they are, and those that came to nothing.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runvoy_core::id::ExecutionId;
use runvoy_core::in_flight::InFlight;
use runvoy_core::port::{Progress, Refusal};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;

use super::turns::Turns;

/// Owned by the executor: what is under way ends with it, and is begun again by the next one.
#[derive(Default)]
pub(super) struct Jobs {
    under_way: InFlight,
    /// Whoever starts a container, or removes what an earlier start left of it.
    turns: Turns<ExecutionId>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    running: JoinSet<()>,
    progress: HashMap<ExecutionId, Progress>,
    refused: HashMap<ExecutionId, Refusal>,
}

impl Jobs {
    /// Runs a start in the background, unless one is under way.
    pub(super) fn spawn(&self, id: ExecutionId, start: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        if self.under_way.contains(id) {
            return;
        }
        while inner.running.try_join_next().is_some() {}
        inner.progress.remove(&id);
        inner.refused.remove(&id);
        let guard = self.under_way.begin(id);
        let turn = self.turns.of(id);
        inner.running.spawn(async move {
            let _turn = turn.lock().await;
            start.await;
            drop(guard);
        });
    }

    /// Notes what came of a start; a refusal stays until it is forgotten.
    pub(super) fn done(&self, id: ExecutionId, refusal: Option<Refusal>) {
        let mut inner = self.lock();
        inner.progress.remove(&id);
        if let Some(refusal) = refusal {
            inner.refused.insert(id, refusal);
        }
    }

    /// Notes how far a start is. Whether that is news.
    pub(super) fn note(&self, id: ExecutionId, progress: Option<Progress>) -> bool {
        let mut inner = self.lock();
        if inner.progress.get(&id) == progress.as_ref() {
            return false;
        }
        match progress {
            Some(progress) => inner.progress.insert(id, progress),
            None => inner.progress.remove(&id),
        };
        true
    }

    pub(super) fn progress(&self, id: ExecutionId) -> Option<Progress> {
        self.lock().progress.get(&id).cloned()
    }

    /// Keeps starts of a task waiting, unless one is under way.
    pub(super) fn hold(&self, id: ExecutionId) -> Option<OwnedMutexGuard<()>> {
        let turn = self.turns.of(id).try_lock_owned().ok()?;
        // Only now: a start is under way before it waits for its turn.
        (!self.under_way.contains(id)).then_some(turn)
    }

    /// Cuts off the starts under way.
    pub(super) fn abort(&self) {
        self.lock().running.abort_all();
    }

    pub(super) fn refusal(&self, id: ExecutionId) -> Option<Refusal> {
        self.lock().refused.get(&id).cloned()
    }

    /// Forgets a refusal, once the gate is decided.
    pub(super) fn forget(&self, id: ExecutionId) {
        self.lock().refused.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
