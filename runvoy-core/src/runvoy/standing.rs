//! Whether a key that was good is good still: what keeps open streams from outliving it.

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Error, Runvoy, Unauthenticated};
use crate::key::HashedKey;
use crate::limits::KEY_RECHECK;
use crate::port::User;

/// That a key was good when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(super) key: HashedKey,
    /// When it ends by itself: known from the look, as a key's date never changes.
    expires: Option<Timestamp>,
    changes: u64,
    looked_at: Instant,
}

/// Counts the keys that this process made worthless, and wakes who waits.
pub(crate) struct KeyChanges(watch::Sender<u64>);

impl Default for KeyChanges {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl KeyChanges {
    /// A key is worthless from now on.
    pub(crate) fn tell(&self) {
        self.0.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    fn count(&self) -> u64 {
        *self.0.borrow()
    }
}

impl Runvoy {
    /// The user whose key this is, if it is good, and that it was good now.
    pub(crate) async fn look_up(&self, key: HashedKey) -> Result<(User, Standing), Error> {
        // Counted before the look: what changes during it is looked at again.
        let (changes, looked_at) = (self.inner.key_changes.count(), Instant::now());
        let found = self.inner.keys.find(&key).await.map_err(Error::store("the key store"))?;
        let refuse = |why| Err(Error::Unauthenticated(why));
        let Some(record) = found else { return refuse(Unauthenticated::Unknown) };
        if record.user.revoked {
            return refuse(Unauthenticated::Revoked);
        }
        let standing = Standing { key, expires: record.user.key_expires_at, changes, looked_at };
        self.not_expired(&standing)?;
        Ok((record.user, standing))
    }

    fn not_expired(&self, standing: &Standing) -> Result<(), Error> {
        if standing.expires.is_some_and(|at| at <= self.inner.clock.now()) {
            return Err(Error::Unauthenticated(Unauthenticated::Expired));
        }
        Ok(())
    }

    /// Fails once the key is worthless, also by its date. Looks again when a key was changed in this process, and now and then for what
    /// changed in another.
    pub(crate) async fn confirm(&self, standing: &mut Standing) -> Result<(), Error> {
        self.not_expired(standing)?;
        let is_fresh =
            standing.changes == self.inner.key_changes.count() && standing.looked_at.elapsed() < KEY_RECHECK;
        if !is_fresh {
            *standing = self.look_up(standing.key).await?.1;
        }
        Ok(())
    }
}
