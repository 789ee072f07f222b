//! What a server does besides answering: it hears of its tasks, and mends what was left half done.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use runvoy_core::port::Executor;
use runvoy_core::{ReconcileOptions, Runvoy};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Events handled at once.
const CONCURRENCY: usize = 64;

/// Tasks that run beside the server; dropping this stops them.
#[derive(Debug)]
pub struct Background(JoinSet<()>);

impl Background {
    /// Starts them. `every` is the time between two passes of [`Runvoy::reconcile`]; the first is made at once, and
    /// takes over every start that is under way: who owns the data directory knows that nobody else is at it.
    pub fn start(runvoy: &Runvoy, executor: &Arc<dyn Executor>, every: Duration) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(hear(runvoy.clone(), Arc::clone(executor)));
        tasks.spawn(mend(runvoy.clone(), every));
        Self(tasks)
    }

    /// Stops them and waits until they are gone.
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

async fn hear(runvoy: Runvoy, executor: Arc<dyn Executor>) {
    let handle = |event| {
        let runvoy = runvoy.clone();
        async move {
            if let Err(error) = runvoy.on_task_event(&event).await {
                // The next pass of `reconcile` finds it.
                tracing::warn!(execution.id = %event.id, %error, "news of a task not recorded yet");
            }
        }
    };
    executor.events().for_each_concurrent(CONCURRENCY, handle).await;
}

async fn mend(runvoy: Runvoy, every: Duration) {
    let mut options = ReconcileOptions { attempt_silence: Duration::ZERO };
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match runvoy.reconcile(options).await {
            Ok(report) => {
                options = ReconcileOptions::default();
                tracing::debug!(?report, "reconciled");
            }
            Err(error) => tracing::warn!(%error, "not reconciled"),
        }
    }
}
