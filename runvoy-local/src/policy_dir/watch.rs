use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::time::{Instant, timeout_at};

use super::{AT_THE_LATEST, STILL};

/// Room for the events of one read.
const BUFFER: usize = 16 * 1024;

/// Tells at once when a directory changes, as far as the kernel does.
pub(super) struct Watch {
    watches: Watches,
    /// `None` once they have ended.
    events: Option<EventStream<Vec<u8>>>,
    /// The directory that is watched: a name can come to mean another one.
    dir: Option<WatchDescriptor>,
    is_broken: bool,
}

impl Watch {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mut watches = inotify.watches();
        let dir = Some(add(&mut watches, dir)?);
        let events = Some(inotify.into_event_stream(vec![0; BUFFER])?);
        Ok(Self { watches, events, dir, is_broken: false })
    }

    /// Watches what has the name now. That nothing has it is for its reader to tell.
    pub(super) fn renew(&mut self, dir: &Path) {
        match add(&mut self.watches, dir) {
            Ok(now) => {
                if let Some(before) = self.dir.replace(now.clone()).filter(|before| *before != now) {
                    // One that was deleted is not watched any more.
                    drop(self.watches.remove(before));
                }
                self.is_broken = false;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound || self.is_broken => {}
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "policies are only looked at every few seconds");
                self.is_broken = true;
            }
        }
    }

    /// Resolves at a change; not all of it may be done. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if let Some(events) = &mut self.events {
            if matches!(events.next().await, Some(Ok(_))) {
                return;
            }
            tracing::warn!("policies are only looked at every few seconds");
            self.events = None;
        }
        std::future::pending::<()>().await;
    }

    /// Waits for the end of a change: until nothing happened for [`STILL`], for [`AT_THE_LATEST`] at most.
    pub(super) async fn still(&mut self) {
        let latest = Instant::now() + AT_THE_LATEST;
        let next = |after: Duration| latest.min(Instant::now() + after);
        while let Some(events) = &mut self.events
            && let Ok(Some(Ok(_))) = timeout_at(next(STILL), events.next()).await
        {}
    }
}

fn add(watches: &mut Watches, dir: &Path) -> io::Result<WatchDescriptor> {
    let inside = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
    let itself = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    watches.add(dir, inside | itself)
}
