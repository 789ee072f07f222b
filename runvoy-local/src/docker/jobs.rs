//! Starts under way, how far they are, and those that came to nothing.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Progress, Refusal};
use tokio::task::JoinSet;

/// Owned by the executor: what is under way ends with it, and is begun again by the next one.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    running: JoinSet<()>,
    starts: HashMap<ExecutionId, Start>,
}

enum Start {
    UnderWay(Option<Progress>),
    Refused(Refusal),
}

impl Jobs {
    /// Runs a start in the background, unless one is under way.
    pub(super) fn spawn(&self, id: ExecutionId, start: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        if matches!(inner.starts.get(&id), Some(Start::UnderWay(_))) {
            return;
        }
        while inner.running.try_join_next().is_some() {}
        inner.starts.insert(id, Start::UnderWay(None));
        inner.running.spawn(start);
    }

    /// Notes that a start is over; a refusal stays until it is forgotten.
    pub(super) fn done(&self, id: ExecutionId, refusal: Option<Refusal>) {
        let mut inner = self.lock();
        match refusal {
            Some(refusal) => inner.starts.insert(id, Start::Refused(refusal)),
            None => inner.starts.remove(&id),
        };
    }

    /// Notes how far a start is. Whether that is news.
    pub(super) fn note(&self, id: ExecutionId, progress: Option<Progress>) -> bool {
        match self.lock().starts.get_mut(&id) {
            Some(Start::UnderWay(known)) if *known != progress => {
                *known = progress;
                true
            }
            _ => false,
        }
    }

    pub(super) fn progress(&self, id: ExecutionId) -> Option<Progress> {
        match self.lock().starts.get(&id) {
            Some(Start::UnderWay(progress)) => progress.clone(),
            _ => None,
        }
    }

    pub(super) fn is_under_way(&self, id: ExecutionId) -> bool {
        matches!(self.lock().starts.get(&id), Some(Start::UnderWay(_)))
    }

    pub(super) fn refusal(&self, id: ExecutionId) -> Option<Refusal> {
        match self.lock().starts.get(&id) {
            Some(Start::Refused(refusal)) => Some(refusal.clone()),
            _ => None,
        }
    }

    /// Forgets a refusal, once the gate is decided.
    pub(super) fn forget(&self, id: ExecutionId) {
        let mut inner = self.lock();
        if matches!(inner.starts.get(&id), Some(Start::Refused(_))) {
            inner.starts.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
