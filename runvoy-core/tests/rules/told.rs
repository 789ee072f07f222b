//! What the audit log tells of the runs of a story.

use std::collections::{BTreeMap, BTreeSet};

use runvoy_core::id::ExecutionId;
use runvoy_core::port::{AuditEvent, AuditKind, AuditLog, Resource};

/// By the execution's name: whether its run was allowed, and how often its end is told.
#[derive(Default)]
pub(crate) struct Told {
    allowed: BTreeSet<String>,
    ends: BTreeMap<String, usize>,
}

impl Told {
    pub(crate) async fn read(audit: &dyn AuditLog) -> Self {
        let mut told = Self::default();
        let mut after = 0;
        loop {
            let page = audit.read(after, 1000).await.unwrap();
            let Some(last) = page.last() else { return told };
            after = last.seq;
            for record in page {
                told.take(record.event().unwrap());
            }
        }
    }

    fn take(&mut self, event: AuditEvent) {
        // The same request again has an event of its own, after the record: that one does not count.
        let is_repetition = event.detail.is_some_and(|detail| detail.starts_with("the same request again"));
        match event.kind {
            AuditKind::Outcome => *self.ends.entry(event.resource).or_default() += 1,
            AuditKind::Allowed if event.action == "run" && !is_repetition => {
                self.allowed.insert(event.resource);
            }
            _ => {}
        }
    }

    pub(crate) fn is_allowed(&self, id: ExecutionId) -> bool {
        self.allowed.contains(&name(id))
    }

    pub(crate) fn ends(&self, id: ExecutionId) -> usize {
        self.ends.get(&name(id)).copied().unwrap_or(0)
    }
}

fn name(id: ExecutionId) -> String {
    Resource::Execution { id, owners: &[] }.to_string()
}
