use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Caller, Error, RequestContext, Runvoy};
use crate::execution::Execution;
use crate::id::{Email, ExecutionId};
use crate::limits;
use crate::port::{Action, AuditEvent, AuditKind, Resource};

/// A reader who pages through a log, or comes back after a cut, is recorded once in this time.
const REVEAL_WINDOW: Duration = Duration::from_mins(10);
/// Readers remembered at most; beyond it some reveals are recorded again, none is missed.
const REVEALS: usize = 10_000;

/// Who was shown which log lately.
#[derive(Default)]
pub(crate) struct Revealed(Mutex<HashMap<(Email, ExecutionId), Timestamp>>);

impl Revealed {
    fn is_recent(&self, user: &Email, id: ExecutionId, now: Timestamp) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&(user.clone(), id)).is_some_and(|at| now.duration_since(*at).unsigned_abs() < REVEAL_WINDOW)
    }

    fn remember(&self, user: &Email, id: ExecutionId, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= REVEALS {
            map.clear();
        }
        map.insert((user.clone(), id), now);
    }
}

/// Ends that this process is about to write down and to record.
#[derive(Default)]
pub(crate) struct Telling(Mutex<HashMap<ExecutionId, usize>>);

/// Until this is dropped, nobody else in this process records the end.
pub(crate) struct TellingGuard<'a> {
    telling: &'a Telling,
    id: ExecutionId,
}

impl Telling {
    pub(crate) fn begin(&self, id: ExecutionId) -> TellingGuard<'_> {
        *self.lock().entry(id).or_default() += 1;
        TellingGuard { telling: self, id }
    }

    pub(crate) fn all(&self) -> HashSet<ExecutionId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TellingGuard<'_> {
    fn drop(&mut self) {
        let mut telling = self.telling.lock();
        if let Entry::Occupied(mut entry) = telling.entry(self.id) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Runvoy {
    /// Ended executions whose outcome is owed and of whom nobody in this process is at it.
    pub(crate) async fn forgotten_outcomes(&self) -> Result<Vec<Execution>, Error> {
        let owed = async || {
            let store = Error::store("the execution store");
            self.inner.executions.outcomes_owed(limits::PAGE).await.map_err(store)
        };
        let before: HashSet<_> = owed().await?.iter().map(|record| record.id).collect();
        if before.is_empty() {
            return Ok(Vec::new());
        }
        // In this order: of one that is in both lists and not here, whoever wrote its end is gone.
        let telling = self.inner.telling.all();
        let mut forgotten = owed().await?;
        forgotten.retain(|record| before.contains(&record.id) && !telling.contains(&record.id));
        Ok(forgotten)
    }

    /// Allows a caller to see a log, and records it where that has not just been done.
    pub(crate) async fn reveal_log(&self, caller: &Caller, record: &Execution) -> Result<(), Error> {
        let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
        let granted = self.authorize(caller, Action::ReadLogs, resource, None).await?;
        let now = self.inner.clock.now();
        if !self.inner.revealed.is_recent(&caller.user, record.id, now) {
            self.record(granted, None, None).await?;
            self.inner.revealed.remember(&caller.user, record.id, now);
        }
        Ok(())
    }

    /// What the system itself is about to do.
    pub(crate) fn system_event(&self, action: &str, resource: Resource<'_>, detail: String) -> AuditEvent {
        AuditEvent {
            at: self.inner.clock.now(),
            request_id: RequestContext::internal().request_id,
            user: Email::system(),
            address: None,
            kind: AuditKind::Allowed,
            action: action.to_owned(),
            resource: resource.to_string(),
            policy: None,
            detail: Some(detail),
        }
    }

    /// Records that a decision is about an execution of earlier: the one that it names was never made.
    pub(crate) async fn record_repetition(&self, asked: &Execution, known: &Execution) -> Result<(), Error> {
        let name = |id| Resource::Execution { id, owners: &[] }.to_string();
        self.append(AuditEvent {
            at: self.inner.clock.now(),
            request_id: asked.created_by_request_id,
            user: asked.created_by.clone(),
            address: None,
            kind: AuditKind::Allowed,
            action: Action::Run.to_string(),
            resource: name(known.id),
            policy: None,
            detail: Some(format!("the same request again; {} was not made", name(asked.id))),
        })
        .await
    }

    /// Records what became of a run. After a crash it may stand there twice, but never not at all.
    pub(crate) async fn record_outcome(&self, record: &Execution) -> Result<(), Error> {
        let code = record.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let reason = record.status_reason.map_or("", |reason| reason.as_str());
        self.append(AuditEvent {
            at: self.inner.clock.now(),
            request_id: record.created_by_request_id,
            user: record.created_by.clone(),
            address: None,
            kind: AuditKind::Outcome,
            action: Action::Run.to_string(),
            resource: Resource::Execution { id: record.id, owners: &record.owned_by }.to_string(),
            policy: None,
            detail: Some(format!("{} {reason}, exit code {code}", record.status)),
        })
        .await?;
        let store = Error::store("the execution store");
        self.inner.executions.outcome_recorded(record.id).await.map_err(store)
    }
}
