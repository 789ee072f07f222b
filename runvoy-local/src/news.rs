//! News of tasks, to whoever listens.

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use runvoy_core::port::TaskEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

/// Events from now on; those that a listener is too slow for are skipped.
pub(crate) fn listen(events: &Sender<TaskEvent>) -> BoxStream<'static, TaskEvent> {
    let next = |mut receiver: Receiver<TaskEvent>| async {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((event, receiver)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    };
    unfold(events.subscribe(), next).boxed()
}
