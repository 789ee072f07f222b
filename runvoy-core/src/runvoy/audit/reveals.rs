//! Who was shown which log: recorded when a reading begins, not with each page of it.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;

use crate::execution::Execution;
use crate::id::{Email, ExecutionId};
use crate::key::HashedKey;
use crate::port::{Action, Resource};
use crate::runvoy::{Caller, Error, LogStart, Runvoy};

/// Who goes on with a log, page by page or after a cut, is recorded once in this time.
const WINDOW: Duration = Duration::from_mins(10);
/// Readers remembered, the latest ones; of others some reveals are recorded again, none is missed.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// One reader of one log. Who comes with another key, or from elsewhere, may be another person.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reader {
    user: Email,
    key: HashedKey,
    address: Option<IpAddr>,
    execution: ExecutionId,
}

/// Who was shown which log lately.
pub(crate) struct Revealed(Mutex<LruCache<Reader, Timestamp>>);

impl Default for Revealed {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Revealed {
    fn is_recent(&self, reader: &Reader, now: Timestamp) -> bool {
        self.lock().get(reader).is_some_and(|at| now.duration_since(*at).unsigned_abs() < WINDOW)
    }

    fn remember(&self, reader: Reader, now: Timestamp) {
        self.lock().put(reader, now);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Reader, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runvoy {
    /// Allows a caller to see a log, and records it; not where they go on with what was just recorded.
    pub(crate) async fn reveal_log(
        &self,
        caller: &Caller,
        record: &Execution,
        start: &LogStart,
    ) -> Result<(), Error> {
        let resource = Resource::Execution { id: record.id, owners: &record.owned_by };
        let granted = self.authorize(caller, Action::ReadLogs, resource, None).await?;
        let reader = Reader {
            user: caller.user.clone(),
            key: caller.standing.key,
            address: caller.context.address,
            execution: record.id,
        };
        let now = self.inner.clock.now();
        if matches!(start, LogStart::After(_)) && self.inner.revealed.is_recent(&reader, now) {
            return Ok(());
        }
        self.record(granted, None, None).await?;
        self.inner.revealed.remember(reader, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ApiKey;

    fn reader(execution: u128) -> Reader {
        Reader {
            user: "a@acme.test".parse().unwrap(),
            key: ApiKey::parse("a-key-for-tests-only-0000000").unwrap().hash(),
            address: None,
            execution: ExecutionId::from_u128(execution),
        }
    }

    #[test]
    fn a_reader_is_known_by_user_key_address_and_log_for_ten_minutes() {
        let (revealed, now) = (Revealed::default(), Timestamp::UNIX_EPOCH);
        revealed.remember(reader(1), now);
        assert!(revealed.is_recent(&reader(1), now + Duration::from_secs(599)));
        assert!(!revealed.is_recent(&reader(1), now + Duration::from_mins(10)));
        let others = [
            Reader { user: "b@acme.test".parse().unwrap(), ..reader(1) },
            Reader { key: ApiKey::generate().hash(), ..reader(1) },
            Reader { address: Some("192.0.2.7".parse().unwrap()), ..reader(1) },
            reader(2),
        ];
        assert!(others.iter().all(|other| !revealed.is_recent(other, now)));
    }

    #[test]
    fn of_too_many_readers_the_latest_are_remembered() {
        let (revealed, now) = (Revealed::default(), Timestamp::UNIX_EPOCH);
        for execution in 0..=REMEMBERED.get() as u128 {
            revealed.remember(reader(execution), now);
            assert!(revealed.is_recent(&reader(1), now) || execution == 0, "who comes back stays");
        }
        assert!(!revealed.is_recent(&reader(0), now));
        assert!(revealed.is_recent(&reader(2), now));
    }
}
