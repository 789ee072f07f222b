//! When people were last seen: kept here, and written down now and then, not with every request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Error, Runvoy};
use crate::id::Email;
use crate::port::{AuditEvent, AuditKind, Resource, User};

/// Who was seen since it was last written down: as many as there are users.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<Email, Timestamp>>);

impl Uses {
    fn map(&self) -> MutexGuard<'_, HashMap<Email, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn saw(&self, user: &Email, at: Timestamp) {
        let mut map = self.map();
        match map.get_mut(user) {
            Some(last) => *last = at,
            None => drop(map.insert(user.clone(), at)),
        }
    }

    /// Adds what is not written down yet.
    pub(crate) fn complete(&self, user: &mut User) {
        user.last_used = user.last_used.max(self.map().get(&user.email).copied());
    }
}

impl Runvoy {
    /// Writes down who was seen, and drops who never came for their key. A server does it every minute (see
    /// [`tend`](Self::tend)) and when it stops; a crash forgets the last minute.
    pub async fn keep_people(&self) -> Result<(), Error> {
        let store = Error::store("the key store");
        let uses: Vec<_> = std::mem::take(&mut *self.inner.uses.map()).into_iter().collect();
        if !uses.is_empty()
            && let Err(error) = self.inner.keys.note_uses(&uses).await
        {
            let mut map = self.inner.uses.map();
            for (user, at) in uses {
                map.entry(user).or_insert(at);
            }
            return Err(store(error));
        }
        self.drop_lapsed().await
    }

    /// Recorded before it is done, and done to nobody of whom it was not.
    async fn drop_lapsed(&self) -> Result<(), Error> {
        let store = Error::store("the key store");
        let now = self.inner.clock.now();
        let mut lapsed = self.inner.keys.list().await.map_err(&store)?;
        lapsed.retain(|user| user.has_lapsed(now));
        let emails: Vec<_> = lapsed.into_iter().map(|user| user.email).collect();
        if emails.is_empty() {
            return Ok(());
        }
        let event = |email: &Email, detail: &str| {
            self.system_event("drop_user", Resource::User(email), detail.to_owned())
        };
        for email in &emails {
            self.append(event(email, "the key was never claimed")).await?;
        }
        let dropped = self.inner.keys.drop_lapsed(&emails, now).await.map_err(store)?;
        for user in &dropped {
            tracing::info!(%user, "dropped: the key was never claimed");
        }
        for kept in emails.iter().filter(|email| !dropped.contains(email)) {
            let kept = event(kept, "not dropped: invited again meanwhile");
            self.append(AuditEvent { kind: AuditKind::Outcome, ..kept }).await?;
        }
        Ok(())
    }
}
