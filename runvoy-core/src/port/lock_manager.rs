use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::id::LockName;
use crate::locks::{LockAnswer, LockCommand, LockDocument};

/// Locks: who holds each, and who waits in which order.
///
/// # Contract
///
/// - What a command does is [`crate::locks::step`] and nothing else: an implementation stores one document a name, and
///   changes it under compare-and-set. So hand-off is one write, and of any number of commands at once each sees what
///   the one before left.
/// - A command that changes nothing may be answered without a write.
/// - An answer means durable. Nothing expires by a clock; a name's token never goes back, also when nobody holds it.
#[async_trait]
pub trait LockManager: Send + Sync + 'static {
    /// Does what is asked of a lock, atomically. `now` is noted for people.
    async fn command(
        &self,
        name: &LockName,
        command: LockCommand,
        now: Timestamp,
    ) -> Result<LockAnswer, StoreError>;

    /// A lock as it is; a free one that never was asked for has an empty document.
    async fn show(&self, name: &LockName) -> Result<Arc<LockDocument>, StoreError>;

    /// Every lock that is held or waited for, by name.
    async fn list(&self) -> Result<Vec<(LockName, Arc<LockDocument>)>, StoreError>;
}
