//! What the engine says of containers that were told a command: the only one who knows whether they are over.

use std::collections::HashMap;

use runvoy_core::id::ExecutionId;

use super::deaths::Deaths;
use super::describe::{execution, life};
use super::engine::{Life, event_time, identity};
use super::error::EngineError;
use super::{Shared, container, watch};
use crate::task_dir::note::Told;

/// The engine's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It runs, or is about to.
    Runs,
    /// Nothing of it runs any more. With what it exited with, where that was heard.
    Over(Option<i64>),
}

/// Asks what became of containers. Of those that are not in the answer nobody could say.
pub(super) async fn ask(shared: &Shared, told: &[(ExecutionId, Told)]) -> HashMap<ExecutionId, Word> {
    let mut words = HashMap::new();
    let mut left = Vec::new();
    for (id, told) in told {
        match shared.deaths.of(*id, told) {
            Some(word) => _ = words.insert(*id, word),
            None => left.push((*id, told)),
        }
    }
    let Some(lives) = lives(shared, &left).await else { return words };
    let mut absent = Vec::new();
    for (id, told) in left {
        match lives.get(&id) {
            Some(Life::Over(exit_code)) => _ = words.insert(id, Word::Over(*exit_code)),
            Some(Life::Created | Life::Running) => _ = words.insert(id, Word::Runs),
            None => absent.push((id, told)),
        }
    }
    if !absent.is_empty() {
        let gone = gone(shared, &absent).await;
        words.extend(
            gone.inspect_err(|error| tracing::warn!(%error, "tasks could not be looked at"))
                .unwrap_or_default(),
        );
    }
    words
}

/// Which of the absent ones are gone: that is the word of the very engine that had them, and of no other. It may remember how
/// they ended though nobody here has heard of it yet.
async fn gone(
    shared: &Shared,
    absent: &[(ExecutionId, &Told)],
) -> Result<Vec<(ExecutionId, Word)>, EngineError> {
    let info = shared.engine.info().await?;
    let engine = identity(&info);
    let (own, others): (Vec<_>, Vec<_>) =
        absent.iter().partition(|(_, told)| told.engine.as_ref().is_none_or(|noted| *noted == engine));
    for (id, _) in others {
        tracing::warn!(execution.id = %id, "its container is another engine's: {}", shared.engine.host());
    }
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let past = Deaths::default();
    for death in shared.engine.past_deaths(container::label(&shared.root), event_time(&info)).await? {
        if let Some(id) = watch::execution(&death) {
            past.hear(id, &death);
        }
    }
    Ok(own.into_iter().map(|(id, told)| (id, past.of(id, told).unwrap_or(Word::Over(None)))).collect())
}

/// Which containers live, of those that exist; `None` where the engine did not say.
async fn lives(shared: &Shared, told: &[(ExecutionId, &Told)]) -> Option<HashMap<ExecutionId, Life>> {
    let asked = match told {
        [] => return Some(HashMap::new()),
        [(id, told)] => {
            one(shared, *id, told).await.map(|life| life.map(|life| (*id, life)).into_iter().collect())
        }
        _ => many(shared, told).await,
    };
    asked.inspect_err(|error| tracing::warn!(%error, "tasks could not be looked at")).ok()
}

async fn one(shared: &Shared, id: ExecutionId, told: &Told) -> Result<Option<Life>, EngineError> {
    let name = told.container.clone().unwrap_or_else(|| container::name(id));
    shared.engine.life(&name).await
}

async fn many(
    shared: &Shared,
    told: &[(ExecutionId, &Told)],
) -> Result<HashMap<ExecutionId, Life>, EngineError> {
    let told: HashMap<_, _> = told.iter().copied().collect();
    let mut lives = HashMap::new();
    for found in shared.engine.list(container::label(&shared.root)).await? {
        let Some((id, told)) = execution(&found).and_then(|id| Some((id, *told.get(&id)?))) else { continue };
        if told.container.is_some() && told.container != found.id {
            continue;
        }
        let life = match life(&found) {
            // With its exit code, unless it was removed in between.
            Life::Over(None) => one(shared, id, told).await?.unwrap_or(Life::Over(None)),
            life => life,
        };
        lives.insert(id, life);
    }
    Ok(lives)
}
