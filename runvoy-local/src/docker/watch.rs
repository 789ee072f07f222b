//! The engine's own news, and the cleaning up that nobody else does.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt as _;
use runvoy_core::id::ExecutionId;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::container::{self, LABEL_EXECUTION};
use super::deaths::DIED;
use super::engine::event_time;
use super::{Shared, sweep};
use crate::task_dir::follow::Follower;

/// Pauses before an engine is asked again that went away, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often what is left over is looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Looks at tasks whose container died, for as long as it is polled. An engine that restarts is asked again.
pub(super) async fn deaths(shared: Arc<Shared>, follower: Arc<Follower>) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    // Ends with this: what it did not come to, a sweep does.
    let mut removing = JoinSet::new();
    loop {
        if let Ok(info) = shared.engine.info().await {
            // It may be another one, or told otherwise, since it was last here.
            shared.note_engine(&info);
            let mut deaths = shared.engine.deaths(container::label(&shared.root), event_time(&info));
            // What died before that time.
            follower.look_at_all();
            while let Some(told) = deaths.next().await {
                match told {
                    Ok(death) => {
                        pause = first;
                        notice(&shared, &follower, &death, &mut removing);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the engine's news broke off, and are asked for again");
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn notice(shared: &Arc<Shared>, follower: &Follower, death: &EventMessage, removing: &mut JoinSet<()>) {
    let Some(id) = execution(death) else { return };
    shared.deaths.hear(id, death);
    follower.look(id);
    if death.action.as_deref() == Some(DIED) && !shared.leaves_removal_to_engine() {
        removing.spawn(remove(Arc::clone(shared), id));
    }
    while removing.try_join_next().is_some() {}
}

async fn remove(shared: Arc<Shared>, id: ExecutionId) {
    if let Err(error) = sweep::remove(&shared, id).await {
        tracing::debug!(execution.id = %id, %error, "a container is left for the next sweep");
    }
}

/// Whose end it is.
pub(super) fn execution(death: &EventMessage) -> Option<ExecutionId> {
    death.actor.as_ref()?.attributes.as_ref()?.get(LABEL_EXECUTION)?.parse().ok()
}

/// Cleans up now and then, for as long as it is polled.
pub(super) async fn sweeps(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep::sweep(&shared).await {
            tracing::debug!(%error, "containers may be left over");
        }
    }
}
