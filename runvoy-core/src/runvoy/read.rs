use std::time::Duration;

use jiff::Timestamp;

use super::{Caller, Error, Runvoy};
use crate::execution::Execution;
use crate::id::{Email, ExecutionId, IdPrefix, LockName};
use crate::limits;
use crate::port::{Action, ListPosition, ListQuery, Page, Resource};
use crate::state::Status;

/// Which executions to list. An absent filter lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// One of these statuses.
    pub statuses: Option<Vec<Status>>,
    /// Created by this user.
    pub user: Option<Email>,
    /// That want, hold or held this lock.
    pub lock: Option<LockName>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
}

impl Runvoy {
    /// The record of an execution.
    pub async fn execution(&self, caller: &Caller, id: &IdPrefix) -> Result<Execution, Error> {
        let record = self.find_for(caller, Action::ReadExecution, id).await?;
        let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
        self.authorize(caller, Action::ReadExecution, resource, None).await?;
        Ok(record)
    }

    /// The record of an execution once it has ended, or as it is after `at_most`.
    pub async fn wait(&self, caller: &Caller, id: &IdPrefix, at_most: Duration) -> Result<Execution, Error> {
        let mut record = self.execution(caller, id).await?;
        let deadline = tokio::time::Instant::now() + at_most;
        let mut changes = self.inner.changes.subscribe(record.id);
        let (mut standing, mut key_changes) = (caller.standing.clone(), self.inner.key_changes.subscribe());
        loop {
            self.confirm(&mut standing).await?;
            record = self.get_record(record.id).await?;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if record.status.is_terminal() || left.is_zero() || self.is_draining() {
                return Ok(record);
            }
            // All ways on look again.
            tokio::select! {
                () = tokio::time::sleep(left.min(self.inner.config.poll)) => {}
                () = changes.changed() => {}
                _ = key_changes.changed() => {}
            }
        }
    }

    /// A page of records, newest first. `limit` is 1 to [`limits::PAGE`].
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &ExecutionFilter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.authorize(caller, Action::ListExecutions, Resource::System, None).await?;
        if !(1..=limits::PAGE).contains(&limit) {
            return Err(Error::invalid("limit", format!("1 to {}, this is {limit}", limits::PAGE)));
        }
        let query = ListQuery {
            statuses: filter.statuses.clone(),
            user: filter.user.clone(),
            lock: filter.lock.clone(),
            since: filter.since,
            until: filter.until,
            after,
            limit,
        };
        self.inner.executions.list(&query).await.map_err(Error::store("the execution store"))
    }

    /// Fails for a caller who may not do this to an execution, be it there or not; `None` for one that cannot be.
    pub async fn check_execution(
        &self,
        caller: &Caller,
        action: Action,
        id: Option<&IdPrefix>,
    ) -> Result<(), Error> {
        let Some(id) = id else { return self.authorize_nobodys(caller, action, "?").await };
        match self.find_for(caller, action, id).await {
            Ok(record) => {
                let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
                self.authorize(caller, action, resource, None).await.map(drop)
            }
            Err(Error::NotFound { .. } | Error::Invalid { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The record that a prefix names, for a caller who wants to do this to it. One of which they may be told nothing is told
    /// as one that is not there, by the prefix alone: so nobody learns which executions others have.
    pub(crate) async fn find_for(
        &self,
        caller: &Caller,
        action: Action,
        prefix: &IdPrefix,
    ) -> Result<Execution, Error> {
        let mut shown = Vec::new();
        for record in self.candidates(prefix).await? {
            if self.is_shown(caller, action, &record).await? {
                shown.push(record);
            }
        }
        if shown.is_empty() {
            self.authorize_nobodys(caller, action, prefix.as_str()).await?;
        }
        the_only(shown, prefix)
    }

    /// Whether somebody may do this to an execution, or read it: else its existence is no business of theirs.
    pub(super) async fn is_shown(
        &self,
        caller: &Caller,
        action: Action,
        record: &Execution,
    ) -> Result<bool, Error> {
        let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
        Ok(self.may(caller, action, resource, None).await?
            || self.may(caller, Action::ReadExecution, resource, None).await?)
    }

    /// Asks about an execution that is nobody's, by whatever it is called.
    async fn authorize_nobodys(&self, caller: &Caller, action: Action, name: &str) -> Result<(), Error> {
        let id = name.parse().unwrap_or(ExecutionId::from_u128(0));
        let about = (action, Resource::Execution { id, owners: &[] });
        let named = format!("execution:{name}");
        self.authorize_named(caller, about, None, Some(&named)).await.map(drop)
    }

    /// The record that a prefix names.
    #[cfg(feature = "http")]
    pub(crate) async fn resolve(&self, prefix: &IdPrefix) -> Result<Execution, Error> {
        the_only(self.candidates(prefix).await?, prefix)
    }

    /// The records that a prefix may mean, two at most.
    async fn candidates(&self, prefix: &IdPrefix) -> Result<Vec<Execution>, Error> {
        let (store, executions) = (Error::store("the execution store"), &self.inner.executions);
        let ids = match prefix.whole() {
            Some(id) => vec![id],
            None => executions.find(prefix).await.map_err(&store)?,
        };
        let mut records = Vec::new();
        for id in ids {
            records.extend(executions.get(id).await.map_err(&store)?);
        }
        Ok(records)
    }

    pub(crate) async fn get_record(&self, id: ExecutionId) -> Result<Execution, Error> {
        self.inner
            .executions
            .get(id)
            .await
            .map_err(Error::store("the execution store"))?
            .ok_or_else(|| Error::no_execution(id))
    }
}

fn the_only(mut found: Vec<Execution>, prefix: &IdPrefix) -> Result<Execution, Error> {
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record),
        (Some(_), false) => {
            let message = format!("`{}` is ambiguous: give more of it", prefix.as_str());
            Err(Error::invalid("execution id", message))
        }
        (None, _) => Err(Error::no_execution(prefix.as_str())),
    }
}
