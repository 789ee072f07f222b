//! Getting to know an engine: at once, or when it comes back.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runvoy_core::port::ExecutorError;
use tokio::sync::watch;

use super::refusal::error_chain;
use super::{Shared, probe};

/// Pauses before an engine is asked again that is away, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Whether the engine has shown that it is of use; else what was in the way last.
pub(super) struct Joined(watch::Sender<Option<String>>);

impl Default for Joined {
    fn default() -> Self {
        Self(watch::Sender::new(Some("it was not asked yet".to_owned())))
    }
}

impl Joined {
    /// Whether new commands are taken.
    pub(super) fn admit(&self) -> Result<(), ExecutorError> {
        match &*self.0.borrow() {
            None => Ok(()),
            Some(why) => {
                Err(ExecutorError::unavailable_of("the Docker engine", io::Error::other(why.clone())))
            }
        }
    }

    /// Waits for the engine.
    pub(super) async fn wait(&self) {
        // The sender is our own: it is not closed meanwhile.
        let _ = self.0.subscribe().wait_for(Option::is_none).await;
    }
}

/// Whether commands of a data directory have run in containers, or might have.
pub fn was_used(root: &Path) -> io::Result<bool> {
    probe::was_probed(root)
}

/// Asks the engine what it is, and makes sure that it is of use.
pub(super) async fn join(shared: &Shared) -> Result<(), ExecutorError> {
    let info = shared.engine.info().await?;
    shared.note_engine(&info);
    probe::probe(&shared.engine, &info, &shared.root, &shared.agent).await?;
    shared.joined.0.send_replace(None);
    Ok(())
}

/// The same for an engine that is away, for as long as it is.
pub(super) async fn join_later(shared: Arc<Shared>) {
    let (mut pause, longest) = PAUSES;
    while let Err(error) = join(&shared).await {
        let why = error_chain(&error);
        let known = shared.joined.0.send_replace(Some(why.clone()));
        if known.is_none_or(|known| known != why) {
            tracing::warn!("commands wait for the Docker engine: {why}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
    tracing::info!("the Docker engine is there; what waited for it starts");
}
