//! Seeing locks, and taking one from its holder.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Caller, Error, Runvoy};
use crate::execution::{Execution, LockUse, Patch};
use crate::id::{Email, LockName};
use crate::locks::{Holder, LockAnswer, LockCommand, LockDocument};
use crate::port::{Action, Resource, TaskState, Transition};
use crate::state::Status;

/// A lock, with when its holder was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// Its name.
    pub name: LockName,
    /// Holder and waiters.
    pub lock: Arc<LockDocument>,
    /// When the holder's task was last seen alive: now, or not known.
    pub last_seen: Option<Timestamp>,
}

/// How a lock is taken from its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedRelease {
    /// The holder is stopped; the lock is free when its task is gone.
    StopHolder,
    /// The lock is free at once, although the holder may still run.
    Abandon,
}

impl Runvoy {
    /// Every lock that is held or waited for.
    pub async fn locks(&self, caller: &Caller) -> Result<Vec<LockView>, Error> {
        self.authorize(caller, Action::ListLocks, Resource::System, None).await?;
        let locks = self.inner.locks.list().await.map_err(Error::store("the lock store"))?;
        self.look_at_holders(locks).await
    }

    /// One lock, free ones included.
    pub async fn lock(&self, caller: &Caller, name: &LockName) -> Result<LockView, Error> {
        self.authorize(caller, Action::ListLocks, Resource::System, None).await?;
        let lock = self.inner.locks.show(name).await.map_err(Error::store("the lock store"))?;
        let views = self.look_at_holders(vec![(name.clone(), lock)]).await?;
        views.into_iter().next().ok_or_else(|| Error::NotFound { what: format!("lock {name}") })
    }

    async fn look_at_holders(
        &self,
        locks: Vec<(LockName, Arc<LockDocument>)>,
    ) -> Result<Vec<LockView>, Error> {
        let holders: Vec<_> = locks
            .iter()
            .filter_map(|(_, lock)| lock.holder.as_ref().map(|holder| holder.execution))
            .collect();
        let states = if holders.is_empty() {
            Vec::new()
        } else {
            self.inner.executor.describe(&holders).await.unwrap_or_default()
        };
        let now = self.inner.clock.now();
        let mut states = states.into_iter();
        let seen = |lock: &LockDocument, state: Option<TaskState>| {
            let alive = matches!(state, Some(TaskState::Running { .. }));
            (lock.holder.is_some() && alive).then_some(now)
        };
        let view = |(name, lock): (LockName, Arc<LockDocument>)| {
            let state = if lock.holder.is_some() { states.next() } else { None };
            let last_seen = seen(&lock, state);
            LockView { name, lock, last_seen }
        };
        Ok(locks.into_iter().map(view).collect())
    }

    /// Takes a lock from its holder; answers who that was.
    pub async fn force_release(
        &self,
        caller: &Caller,
        name: &LockName,
        how: ForcedRelease,
    ) -> Result<Holder, Error> {
        let action = match how {
            ForcedRelease::StopHolder => Action::ReleaseLock,
            ForcedRelease::Abandon => Action::AbandonLock,
        };
        let granted = self.authorize(caller, action, Resource::Lock(name), None).await?;
        let lock = self.inner.locks.show(name).await.map_err(Error::store("the lock store"))?;
        let not_held = || Error::NotFound { what: format!("a holder of the lock {name}") };
        let holder = lock.holder.clone().ok_or_else(not_held)?;
        self.record(granted, None, Some(&format!("held by execution {}", holder.execution))).await?;
        let (this, caller, name) = (self.clone(), caller.clone(), name.clone());
        self.although_the_caller_goes(async move {
            match how {
                ForcedRelease::StopHolder => this.stop_holder(&caller, &name, &holder).await?,
                ForcedRelease::Abandon => this.abandon(&caller, &name, &holder).await?,
            }
            Ok(holder)
        })
        .await
    }

    async fn stop_holder(&self, caller: &Caller, name: &LockName, holder: &Holder) -> Result<(), Error> {
        if let Some(record) = self.holding(holder).await? {
            return self.order_stop(caller, record, None).await.map(|_| ());
        }
        // Nobody runs under it: it only was not freed yet.
        let next = self.release(name, holder.token).await?;
        self.pass_on_or_leave(name, next).await;
        Ok(())
    }

    async fn abandon(&self, caller: &Caller, name: &LockName, holder: &Holder) -> Result<(), Error> {
        let mut record = self.holding(holder).await?;
        if let Some(id) = record.as_ref().filter(|record| record.status == Status::Queued).map(|one| one.id) {
            // Its turn has not begun: what would be left to run begins no more.
            record = Some(self.kill_in_line(caller, id).await?);
        }
        if let Some(record) = record {
            self.mark_abandoned(record, caller.user()).await?;
        }
        let answer = self.lock_command(name, LockCommand::Abandon { token: holder.token }).await?;
        if let LockAnswer::Released { next } = answer {
            self.wake_line(name).await;
            self.pass_on_or_leave(name, next).await;
        }
        Ok(())
    }

    /// The execution that holds a lock, unless it is over.
    async fn holding(&self, holder: &Holder) -> Result<Option<Execution>, Error> {
        let store = Error::store("the execution store");
        let record = self.inner.executions.get(holder.execution).await.map_err(store)?;
        Ok(record.filter(|record| !record.status.is_terminal()))
    }

    async fn mark_abandoned(&self, mut record: Execution, by: &Email) -> Result<(), Error> {
        // Each round either writes the mark or finds a later status, so a few rounds reach the last one.
        for _ in 0..4 {
            let is_over = record.status.is_terminal();
            let Some(lock) = record.lock.clone().filter(|_| !is_over) else { break };
            let lock = LockUse { abandoned_by: Some(by.clone()), ..lock };
            let noted = Patch { lock: Some(lock), ..Patch::default() };
            match self.try_transition(record.id, &[record.status], &noted).await? {
                Transition::Applied(_) => break,
                Transition::Refused(later) => record = *later,
            }
        }
        Ok(())
    }
}
