//! What the engine says of containers that were told a command: the only one who knows whether they are over.

use std::collections::HashMap;

use runvoy_core::id::ExecutionId;

use super::describe::{execution, life};
use super::engine::{Life, identity};
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
            Some(Life::Over) => _ = words.insert(id, Word::Over(None)),
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
            let name = told.container.clone().unwrap_or_else(|| container::name(*id));
            shared.engine.life(&name).await.map(|life| life.map(|life| (*id, life)).into_iter().collect())
        }
        _ => shared.engine.list(container::label(&shared.root)).await.map(|containers| {
            let told: HashMap<_, _> = told.iter().copied().collect();
            let all = containers.iter().filter_map(|found| Some((execution(found)?, found)));
            let own = all.filter(|(id, found)| {
                told.get(id).is_some_and(|told| told.container.is_none() || told.container == found.id)
            });
            own.map(|(id, found)| (id, life(found))).collect()
        }),
    };
    asked.inspect_err(|error| tracing::warn!(%error, "tasks could not be looked at")).ok()
}
