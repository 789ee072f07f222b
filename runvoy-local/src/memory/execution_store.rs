use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use runvoy_core::execution::{Execution, Patch, StartRequest};
use runvoy_core::id::{Email, ExecutionId, IdPrefix};
use runvoy_core::limits;
use runvoy_core::port::{
    Created, ExecutionStore, Idempotency, ListPosition, ListQuery, LiveLimits, LiveScope, NewExecution, Page,
    StoreError, Transition,
};
use runvoy_core::state::{Reason, Status, allows};

/// A record's place in the order of time.
type Place = (Timestamp, ExecutionId);

/// Execution records that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryExecutionStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<ExecutionId, Record>,
    keys: HashMap<(Email, String), (Idempotency, ExecutionId)>,
    /// One set per status, and one per user and status: every listing merges at most seven of one kind.
    by_status: HashMap<Status, BTreeSet<Place>>,
    by_user: HashMap<(Email, Status), BTreeSet<Place>>,
    outcomes_owed: BTreeSet<ExecutionId>,
}

#[derive(Debug)]
struct Record {
    execution: Execution,
    request: Option<StartRequest>,
}

impl MemoryExecutionStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The record that a live key of the same user stands for.
    fn by_key(&self, record: &Execution, key: &Idempotency) -> Result<Option<Execution>, StoreError> {
        match self.keys.get(&(record.created_by.clone(), key.key.clone())) {
            Some((known, id)) if known.expires_at > record.created_at && !self.is_turned_away(*id) => {
                if known.fingerprint != key.fingerprint {
                    return Err(StoreError::conflict("another request with this idempotency key"));
                }
                Ok(self.records.get(id).map(|record| record.execution.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Whether an execution did not get its lock: its key is free.
    fn is_turned_away(&self, id: ExecutionId) -> bool {
        let reason = self.records.get(&id).and_then(|record| record.execution.status_reason);
        reason == Some(Reason::LockHeld)
    }

    fn exceeded(&self, user: &Email, limits: LiveLimits) -> Option<(LiveScope, u64)> {
        let full = |limit: Option<u64>, live: &dyn Fn(Status) -> Option<usize>| {
            let limit = limit?;
            let count: usize = Status::LIVE.into_iter().filter_map(live).sum();
            (count as u64 >= limit).then_some(limit)
        };
        let server = |status| self.by_status.get(&status).map(BTreeSet::len);
        let own = |status| self.by_user.get(&(user.clone(), status)).map(BTreeSet::len);
        full(limits.server, &server)
            .map(|limit| (LiveScope::Server, limit))
            .or_else(|| full(limits.user, &own).map(|limit| (LiveScope::User, limit)))
    }

    fn index(&mut self, execution: &Execution) {
        let place = (execution.created_at, execution.id);
        self.by_status.entry(execution.status).or_default().insert(place);
        self.by_user.entry((execution.created_by.clone(), execution.status)).or_default().insert(place);
    }

    fn unindex(&mut self, execution: &Execution) {
        let place = (execution.created_at, execution.id);
        if let Some(places) = self.by_status.get_mut(&execution.status) {
            places.remove(&place);
        }
        let key = (execution.created_by.clone(), execution.status);
        if let Some(places) = self.by_user.get_mut(&key) {
            places.remove(&place);
            if places.is_empty() {
                self.by_user.remove(&key);
            }
        }
    }

    /// The places that a query asks for, newest first.
    fn places<'a>(&'a self, query: &ListQuery) -> impl Iterator<Item = Place> + use<'a> {
        let statuses: BTreeSet<Status> =
            query.statuses.clone().map_or_else(|| Status::ALL.into(), |some| some.into_iter().collect());
        let mut sources: Vec<_> = statuses
            .into_iter()
            .filter_map(|status| match &query.user {
                Some(user) => self.by_user.get(&(user.clone(), status)),
                None => self.by_status.get(&status),
            })
            .filter_map(|places| window(places, query))
            .filter_map(|mut source| Some((source.next()?, source)))
            .collect();
        std::iter::from_fn(move || {
            let at = sources.iter().enumerate().max_by_key(|(_, (first, _))| *first)?.0;
            let (first, source) = sources.get_mut(at)?;
            let newest = *first;
            match source.next() {
                Some(next) => *first = next,
                None => drop(sources.swap_remove(at)),
            }
            Some(newest)
        })
    }
}

/// Those of `places` that lie in the window of a query, newest first; `None` where the window is empty.
fn window<'a>(
    places: &'a BTreeSet<Place>,
    query: &ListQuery,
) -> Option<impl Iterator<Item = Place> + use<'a>> {
    let first = ExecutionId::from_u128(0);
    let from = query.since.map(|since| (since, first));
    let until = query.until.map(|until| (until, first));
    let after = query.after.map(|place| (place.created_at, place.id));
    let to = [until, after].into_iter().flatten().min();
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return None;
    }
    let bounds =
        (from.map_or(Bound::Unbounded, Bound::Included), to.map_or(Bound::Unbounded, Bound::Excluded));
    Some(places.range(bounds).rev().copied())
}

#[async_trait]
impl ExecutionStore for MemoryExecutionStore {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        let NewExecution { record, request, idempotency, limits } = new;
        let mut state = self.state();
        if let Some(key) = &idempotency
            && let Some(known) = state.by_key(&record, key)?
        {
            return Ok(Created::Existing(Box::new(known)));
        }
        if !allows(None, record.status, record.status_reason) {
            let what = format!("an execution does not begin as {}", record.status);
            return Err(StoreError::Invalid { what, source: None });
        }
        if let Some((scope, limit)) = state.exceeded(&record.created_by, limits) {
            return Ok(Created::TooMany { scope, limit });
        }
        if state.records.contains_key(&record.id) {
            return Err(StoreError::conflict(format!("execution {}", record.id)));
        }
        if let Some(key) = idempotency {
            state.keys.insert((record.created_by.clone(), key.key.clone()), (key, record.id));
        }
        state.index(&record);
        if record.status.is_terminal() {
            state.outcomes_owed.insert(record.id);
        }
        let request = (!record.status.is_terminal()).then_some(request);
        state.records.insert(record.id, Record { execution: record, request });
        Ok(Created::New)
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        Ok(self.state().records.get(&id).map(|record| record.execution.clone()))
    }

    async fn find(&self, prefix: &IdPrefix) -> Result<Vec<ExecutionId>, StoreError> {
        let (first, last) = prefix.range();
        Ok(self.state().records.range(first..=last).take(2).map(|(id, _)| *id).collect())
    }

    async fn transition(
        &self,
        id: ExecutionId,
        from: &[Status],
        patch: &Patch,
    ) -> Result<Transition, StoreError> {
        let mut state = self.state();
        let record =
            state.records.get_mut(&id).ok_or_else(|| StoreError::not_found(format!("execution {id}")))?;
        let before = record.execution.clone();
        if !from.contains(&before.status) {
            return Ok(Transition::Refused(Box::new(before)));
        }
        let mut after = before.clone();
        after
            .apply(patch)
            .map_err(|step| StoreError::Invalid { what: step.to_string(), source: Some(Box::new(step)) })?;
        record.execution.clone_from(&after);
        if after.status.is_terminal() {
            record.request = None;
        }
        if after.status != before.status {
            state.unindex(&before);
            state.index(&after);
            if after.status.is_terminal() {
                state.outcomes_owed.insert(id);
            }
        }
        Ok(Transition::Applied(Box::new(after)))
    }

    async fn request(&self, id: ExecutionId) -> Result<Option<StartRequest>, StoreError> {
        Ok(self.state().records.get(&id).and_then(|record| record.request.clone()))
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        if !(1..=limits::PAGE).contains(&query.limit) {
            let what = format!("a page has 1 to {} records, not {}", limits::PAGE, query.limit);
            return Err(StoreError::Invalid { what, source: None });
        }
        let state = self.state();
        let mut executions: Vec<Execution> = state
            .places(query)
            .filter_map(|(_, id)| state.records.get(&id).map(|record| &record.execution))
            .filter(|record| {
                query.lock.is_none() || record.lock.as_ref().map(|lock| &lock.name) == query.lock.as_ref()
            })
            .take(query.limit + 1)
            .cloned()
            .collect();
        let more = executions.len() > query.limit;
        executions.truncate(query.limit);
        let last = executions.last().filter(|_| more);
        let next = last.map(|last| ListPosition { created_at: last.created_at, id: last.id });
        Ok(Page { executions, next })
    }

    async fn outcomes_owed(&self, limit: usize) -> Result<Vec<Execution>, StoreError> {
        let state = self.state();
        let owed = state.outcomes_owed.iter().filter_map(|id| state.records.get(id));
        Ok(owed.take(limit).map(|record| record.execution.clone()).collect())
    }

    async fn outcome_recorded(&self, id: ExecutionId) -> Result<(), StoreError> {
        self.state().outcomes_owed.remove(&id);
        Ok(())
    }
}
