//! What the server itself has to say of a request, and what the request touched.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Caller, Error, Runvoy};
use crate::audit::AuditFilter;
use crate::execution::Execution;
use crate::id::{Email, ExecutionId, LockName, RequestId, SecretName};
use crate::limits;
use crate::port::{Action, AuditEvent, Resource, TraceLine, User};

/// Time for all that is looked at.
const PATIENCE: Duration = Duration::from_secs(20);
/// Digits of an id.
const ID: usize = 32;

/// What is known of a request.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The server's own log lines, oldest first; `None` where it keeps none.
    pub lines: Option<Vec<TraceLine>>,
    /// Executions that it was about, started or changed, newest first.
    pub executions: Vec<Execution>,
    /// People that it was about.
    pub users: Vec<User>,
    /// Locks that it was about.
    pub locks: Vec<LockName>,
    /// Secrets that it was about.
    pub secrets: Vec<SecretName>,
    /// Images that it was about, as they were named.
    pub images: Vec<String>,
}

/// What audit records name. At most [`limits::PAGE`] of each kind.
#[derive(Default)]
struct Named {
    /// What was decided about.
    executions: BTreeSet<ExecutionId>,
    /// What a record speaks of: to be looked at.
    mentioned: BTreeSet<ExecutionId>,
    users: BTreeSet<Email>,
    locks: BTreeSet<LockName>,
    secrets: BTreeSet<SecretName>,
    images: BTreeSet<String>,
}

impl Named {
    fn take(&mut self, event: &AuditEvent) {
        let (kind, name) = event.resource.split_once(':').unwrap_or((&event.resource, ""));
        match kind {
            "execution" => note(&mut self.executions, name.parse().ok()),
            "user" => note(&mut self.users, name.parse().ok()),
            "lock" => note(&mut self.locks, name.parse().ok()),
            "secret" => note(&mut self.secrets, name.parse().ok()),
            "image" => note(&mut self.images, Some(name.to_owned())),
            _ => {}
        }
        let words = event.detail.iter().flat_map(|detail| detail.split(|c: char| !c.is_ascii_hexdigit()));
        for word in words.filter(|word| word.len() == ID) {
            note(&mut self.mentioned, word.parse().ok());
        }
    }
}

fn note<T: Ord>(set: &mut BTreeSet<T>, thing: Option<T>) {
    if set.len() < limits::PAGE {
        set.extend(thing);
    }
}

impl Runvoy {
    /// What is known of a request; nothing, where it is unknown. Recorded: it shows what others did.
    pub async fn trace(&self, caller: &Caller, request: &str) -> Result<Trace, Error> {
        let granted = self.authorize(caller, Action::ReadTrace, Resource::System, None).await?;
        let Ok(request) = request.parse::<RequestId>() else { return Ok(Trace::default()) };
        self.record(granted, None, Some(&format!("request {request}"))).await?;
        let found = tokio::time::timeout(PATIENCE, self.find_traces(request)).await;
        found.unwrap_or_else(|late| Err(Error::Unavailable { what: "the trace", source: late.into() }))
    }

    async fn find_traces(&self, request: RequestId) -> Result<Trace, Error> {
        let lines = match &self.inner.trace {
            Some(log) => {
                let lines = log.read(request, limits::PAGE).await;
                Some(lines.map_err(Error::store("the server's log"))?)
            }
            None => None,
        };
        let named = self.named_in_audit(request).await?;
        Ok(Trace {
            lines,
            executions: self.touched(request, &named).await?,
            users: self.users_named(&named.users).await?,
            locks: named.locks.into_iter().collect(),
            secrets: named.secrets.into_iter().collect(),
            images: named.images.into_iter().collect(),
        })
    }

    async fn named_in_audit(&self, request: RequestId) -> Result<Named, Error> {
        let filter = AuditFilter { request: Some(request), ..AuditFilter::default() };
        let mut named = Named::default();
        let mut after = Some(0);
        while let Some(from) = after {
            let page = self.audit_page(&filter, from).await?;
            page.records.iter().filter_map(|record| record.event().ok()).for_each(|event| named.take(&event));
            after = page.next;
        }
        Ok(named)
    }

    /// What was decided about, and of what was only spoken of what the request did change.
    async fn touched(&self, request: RequestId, named: &Named) -> Result<Vec<Execution>, Error> {
        let mut found = Vec::new();
        for id in named.executions.union(&named.mentioned) {
            let store = Error::store("the execution store");
            let Some(record) = self.inner.executions.get(*id).await.map_err(store)? else { continue };
            let is_its_own = [record.created_by_request_id, record.modified_by_request_id].contains(&request);
            if is_its_own || named.executions.contains(id) {
                found.push(record);
            }
        }
        found.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.id)));
        Ok(found)
    }

    async fn users_named(&self, emails: &BTreeSet<Email>) -> Result<Vec<User>, Error> {
        let mut users = Vec::new();
        for email in emails {
            users.extend(self.inner.keys.user(email).await.map_err(Error::store("the key store"))?);
        }
        Ok(users)
    }
}
