//! Starts that are under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runvoy_core::id::ExecutionId;

/// How many starts of each execution this server is in the middle of.
#[derive(Default)]
pub(super) struct Starting(Mutex<HashMap<ExecutionId, usize>>);

/// Until this is dropped, a start is under way.
pub(super) struct Guard<'a> {
    starting: &'a Starting,
    id: ExecutionId,
}

impl Starting {
    pub(super) fn begin(&self, id: ExecutionId) -> Guard<'_> {
        *self.lock().entry(id).or_default() += 1;
        Guard { starting: self, id }
    }

    pub(super) fn contains(&self, id: ExecutionId) -> bool {
        self.lock().contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.starting.lock().entry(self.id) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
