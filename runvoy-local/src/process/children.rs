//! Agents of this server's own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runvoy_core::id::ExecutionId;

/// How many agents of each execution this server has, those that it is about to start included.
///
/// A process that has just become an agent does not show yet what it is: its parent knows.
#[derive(Clone, Default)]
pub(super) struct Children(Arc<Mutex<HashMap<ExecutionId, usize>>>);

/// One of them, until this is dropped.
pub(super) struct ChildGuard {
    children: Children,
    id: ExecutionId,
}

impl Children {
    pub(super) fn expect(&self, id: ExecutionId) -> ChildGuard {
        *self.lock().entry(id).or_default() += 1;
        ChildGuard { children: self.clone(), id }
    }

    pub(super) fn has(&self, id: ExecutionId) -> bool {
        self.lock().contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.children.lock().entry(self.id) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
