//! What the engine says of containers that were told a command: the only one who knows whether they are over.

use std::collections::HashMap;

use runvoy_core::id::ExecutionId;

use super::describe::{execution, life};
use super::engine::{Life, identity};
use super::error::EngineError;
use super::{Shared, container};
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
    words.extend(gone(shared, &absent).await.into_iter().map(|id| (id, Word::Over(None))));
    words
}

/// Which of the absent ones are gone: that is the word of the very engine that had them, and of no other.
async fn gone(shared: &Shared, absent: &[(ExecutionId, &Told)]) -> Vec<ExecutionId> {
    if absent.is_empty() {
        return Vec::new();
    }
    let engine = match shared.engine.info().await {
        Ok(info) => identity(&info),
        Err(error) => {
            tracing::warn!(%error, "tasks could not be looked at");
            return Vec::new();
        }
    };
    let (own, others): (Vec<_>, Vec<_>) = absent
        .iter()
        .map(|(id, told)| (*id, told.engine.as_ref().is_none_or(|noted| *noted == engine)))
        .partition(|(_, is_own)| *is_own);
    for (id, _) in others {
        tracing::warn!(execution.id = %id, "its container is another engine's: {}", shared.engine.host());
    }
    own.into_iter().map(|(id, _)| id).collect()
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
