//! What somebody has to do besides answering: hear of tasks, and mend what was left half done.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::MissedTickBehavior;

use super::{ReconcileOptions, Runvoy, error_chain, uploads};
use crate::port::TaskEvent;

/// Events handled at once.
const CONCURRENCY: usize = 64;
/// Time between two checkpoints of the audit log.
const CHECKPOINTS: Duration = Duration::from_hours(1);

/// Time between two looks at who was seen and who never came.
const PEOPLE: Duration = Duration::from_mins(1);

impl Runvoy {
    /// Takes the executor's news as they come, and makes a pass of [`reconcile`](Self::reconcile) at once and then every
    /// `every`; at once and every hour it anchors the audit log in a checkpoint, and
    /// removes uploaded code that nobody used for long. Never ends: spawn it beside a server, and drop it to stop.
    ///
    /// Passes go about it as `options` say. A platform that pushes its news elsewhere (to a function of its own,
    /// say) needs no tending.
    pub async fn tend(self, every: Duration, options: ReconcileOptions) {
        tokio::join!(
            self.hear(),
            self.mend_every(every, options),
            self.checkpoint_every(CHECKPOINTS),
            self.keep_people_every(PEOPLE),
            self.remove_unused_code_every(uploads::LOOK_EVERY),
        );
    }

    async fn hear(&self) {
        let take = |event: TaskEvent| async move {
            if let Err(error) = self.on_task_event(&event).await {
                // The next pass finds it.
                tracing::warn!(execution.id = %event.id, error = %error_chain(&error), "news of a task not recorded yet");
            }
        };
        self.inner.executor.events().for_each_concurrent(CONCURRENCY, take).await;
    }

    async fn keep_people_every(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.keep_people().await {
                tracing::warn!(error = %error_chain(&error), "who was seen is not written down yet");
            }
        }
    }

    async fn remove_unused_code_every(&self, every: Duration) {
        loop {
            if let Err(error) = self.remove_unused_code().await {
                tracing::warn!(error = %error_chain(&error), "unused code not removed yet");
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn checkpoint_every(&self, every: Duration) {
        loop {
            // The first at once: who is killed often would never come to it.
            if let Err(error) = self.checkpoint_audit().await {
                tracing::warn!(error = %error_chain(&error), "audit log not anchored");
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn mend_every(&self, every: Duration, options: ReconcileOptions) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.reconcile(options).await {
                Ok(report) => tracing::debug!(?report, "reconciled"),
                Err(error) => tracing::warn!(error = %error_chain(&error), "not reconciled"),
            }
        }
    }
}
