//! What became of each run, recorded once where nothing disturbs, and never not at all.

use std::collections::HashSet;

use crate::execution::Execution;
use crate::limits;
use crate::port::{Action, AuditEvent, AuditKind, Resource};
use crate::runvoy::{Error, Runvoy};

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
