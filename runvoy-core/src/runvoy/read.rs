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

    /// The record that a prefix names, for a caller who wants to do this to it. Who may not do it to what is not theirs is
    /// denied where there is none, too: so nobody learns which executions others have.
    pub(crate) async fn find_for(
        &self,
        caller: &Caller,
        action: Action,
        prefix: &IdPrefix,
    ) -> Result<Execution, Error> {
        let found = self.resolve(prefix).await;
        if let Err(Error::NotFound { .. } | Error::Invalid { .. }) = found {
            self.authorize_nobodys(caller, action, prefix.as_str()).await?;
        }
        found
    }

    /// Asks about an execution that is nobody's, by whatever it is called.
    async fn authorize_nobodys(&self, caller: &Caller, action: Action, name: &str) -> Result<(), Error> {
        let id = name.parse().unwrap_or(ExecutionId::from_u128(0));
        let about = (action, Resource::Execution { id, owners: &[] });
        let named = format!("execution:{name}");
        self.authorize_named(caller, about, None, Some(&named)).await.map(drop)
    }

    /// The record that a prefix names.
    pub(crate) async fn resolve(&self, prefix: &IdPrefix) -> Result<Execution, Error> {
        if let Some(id) = prefix.whole() {
            return self.get_record(id).await;
        }
        let found = self.inner.executions.find(prefix).await.map_err(Error::store("the execution store"))?;
        match found.as_slice() {
            [] => Err(Error::no_execution(prefix.as_str())),
            [id] => self.get_record(*id).await,
            _ => Err(Error::invalid(
                "execution id",
                format!("`{}` is ambiguous: give more of it", prefix.as_str()),
            )),
        }
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
