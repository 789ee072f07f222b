//! Executions that this process is in the middle of something with.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::ExecutionId;

/// Executions under way, counted: the same one may be there several times.
///
/// ```
/// use runvoy_core::id::ExecutionId;
/// use runvoy_core::in_flight::InFlight;
///
/// let (starts, id) = (InFlight::default(), ExecutionId::random());
/// let first = starts.begin(id);
/// let second = starts.begin(id);
/// drop(first);
/// assert!(starts.contains(id));
/// drop(second);
/// assert!(!starts.contains(id));
/// ```
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<HashMap<ExecutionId, usize>>>);

/// One of them, until this is dropped.
#[derive(Debug)]
pub struct InFlightGuard {
    all: InFlight,
    id: ExecutionId,
}

impl InFlight {
    /// Counts an execution in, until the guard is dropped.
    #[must_use]
    pub fn begin(&self, id: ExecutionId) -> InFlightGuard {
        *self.lock().entry(id).or_default() += 1;
        InFlightGuard { all: self.clone(), id }
    }

    /// Whether an execution is there.
    pub fn contains(&self, id: ExecutionId) -> bool {
        self.lock().contains_key(&id)
    }

    /// Those that are there.
    pub fn all(&self) -> HashSet<ExecutionId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.all.lock().entry(self.id) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
