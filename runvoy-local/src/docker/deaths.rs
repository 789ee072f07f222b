//! Ends of containers that the engine told of, until somebody asks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::models::EventMessage;
use runvoy_core::id::ExecutionId;

use super::word::Word;
use crate::task_dir::note::Told;

/// The engine's word for the end of a container's processes.
pub(super) const DIED: &str = "die";

/// What was heard. An end is forgotten once it is noted beside the execution's directory.
#[derive(Default)]
pub(super) struct Deaths(Mutex<HashMap<ExecutionId, Death>>);

struct Death {
    container: String,
    exit_code: Option<i64>,
}

impl Deaths {
    /// Takes note of an engine's message, if it is about an end.
    pub(super) fn hear(&self, id: ExecutionId, message: &EventMessage) {
        let Some(actor) = message.actor.as_ref().filter(|_| message.action.as_deref() == Some(DIED)) else {
            return;
        };
        let exit_code = actor.attributes.as_ref().and_then(|of| of.get("exitCode")?.parse().ok());
        let container = actor.id.clone().unwrap_or_default();
        self.lock().insert(id, Death { container, exit_code });
    }

    /// What was heard of the container that was told a command. An earlier one of the execution is another one.
    pub(super) fn of(&self, id: ExecutionId, told: &Told) -> Option<Word> {
        let deaths = self.lock();
        let death = deaths.get(&id).filter(|death| told.container.as_ref() == Some(&death.container))?;
        Some(Word::Over(death.exit_code))
    }

    pub(super) fn forget(&self, id: ExecutionId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, Death>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn only_the_end_of_the_very_container_counts() {
        let (deaths, id) = (Deaths::default(), ExecutionId::random());
        let message = |action: &str, container: &str| EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some(container.to_owned()),
                attributes: Some(HashMap::from([("exitCode".to_owned(), "3".to_owned())])),
            }),
            ..EventMessage::default()
        };
        let told = Told {
            at_ms: 1,
            grace_ms: None,
            engine: None,
            container: Some("second".to_owned()),
            image_digest: None,
            over: None,
        };
        deaths.hear(id, &message("die", "first"));
        deaths.hear(id, &message("destroy", "second"));
        assert_eq!(deaths.of(id, &told), None);
        deaths.hear(id, &message("die", "second"));
        assert_eq!(deaths.of(id, &told), Some(Word::Over(Some(3))));
        deaths.forget(id);
        assert_eq!(deaths.of(id, &told), None);
    }
}
