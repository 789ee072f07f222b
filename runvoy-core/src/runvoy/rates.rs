//! How many requests are let in, by key and by address. Exact within this process; memory is bounded.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lru::LruCache;
use tokio::time::Instant;

use super::Error;
use crate::address::begins;
use crate::key::HashedKey;

/// Keys, and addresses, that are remembered; beyond it who was not seen for longest is forgotten.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Bits that the addresses of one IPv6 customer share (RFC 6177).
const IPV6_BITS: u8 = 64;

/// How many of something are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many a minute for ever.
    pub per_minute: NonZeroU32,
    /// So many at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many requests a second, and those of ten seconds at once. `None` for 0.
    pub fn per_second(requests: u32) -> Option<Self> {
        let requests = NonZeroU32::new(requests)?;
        let times = |n: u32| requests.saturating_mul(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        Some(Self { per_minute: times(60), burst: times(10) })
    }

    /// So many a minute, and as many at once. `None` for 0.
    pub fn per_minute(requests: u32) -> Option<Self> {
        NonZeroU32::new(requests).map(|per_minute| Self { per_minute, burst: per_minute })
    }

    fn quota(self) -> Quota {
        Quota::per_minute(self.per_minute).allow_burst(self.burst)
    }
}

/// What is let in; `None` for any number. What comes from this machine itself has no address here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests with one key.
    pub per_key: Option<Rate>,
    /// Requests from one address.
    pub per_address: Option<Rate>,
    /// Unknown keys and claim tokens from one address. When they are used up, only keys that were last used from there
    /// are looked at.
    pub failures: Option<Rate>,
}

impl Default for Rates {
    fn default() -> Self {
        let requests = Rate::per_second(2000);
        Self { per_key: requests, per_address: requests, failures: Rate::per_minute(30) }
    }
}

/// A limiter for each of a bounded number of keys.
struct Limiters<K: Hash + Eq> {
    quota: Quota,
    known: Mutex<LruCache<K, Arc<DefaultDirectRateLimiter>>>,
}

impl<K: Hash + Eq> Limiters<K> {
    fn new(rate: Rate) -> Self {
        Self { quota: rate.quota(), known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Lets one in, or says how long to wait.
    fn take(&self, key: K) -> Result<(), Duration> {
        let fresh = || Arc::new(RateLimiter::direct(self.quota));
        let limiter = Arc::clone(locked(&self.known).get_or_insert(key, fresh));
        limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// The limits of one process.
pub(crate) struct Limits {
    keys: Option<Limiters<HashedKey>>,
    addresses: Option<Limiters<IpAddr>>,
    failures: Option<Limiters<IpAddr>>,
    /// Until when an address has used up its failures.
    blocked: Mutex<LruCache<IpAddr, Instant>>,
    /// Where a good key was last used from.
    places: Mutex<LruCache<HashedKey, IpAddr>>,
}

impl Limits {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            keys: rates.per_key.map(Limiters::new),
            addresses: rates.per_address.map(Limiters::new),
            failures: rates.failures.map(Limiters::new),
            blocked: Mutex::new(LruCache::new(REMEMBERED)),
            places: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Lets in a request from an address.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<(), Error> {
        match (&self.addresses, address.and_then(sender)) {
            (Some(limiters), Some(address)) => limiters.take(address).map_err(too_many),
            _ => Ok(()),
        }
    }

    /// Lets somebody try a key or, without one, a claim token: not from an address that has guessed too often, unless
    /// the key is known there.
    pub(crate) fn may_try(&self, key: Option<&HashedKey>, address: Option<IpAddr>) -> Result<(), Error> {
        let Some(address) = address.and_then(sender) else { return Ok(()) };
        let Some(until) = locked(&self.blocked).get(&address).copied() else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        let is_known = key.is_some_and(|key| locked(&self.places).peek(key) == Some(&address));
        if left.is_zero() || is_known { Ok(()) } else { Err(too_many(left)) }
    }

    /// Counts a guess.
    pub(crate) fn failed(&self, address: Option<IpAddr>) {
        let (Some(limiters), Some(address)) = (&self.failures, address.and_then(sender)) else { return };
        if let Err(wait) = limiters.take(address) {
            locked(&self.blocked).put(address, Instant::now() + wait);
        }
    }

    /// Lets in a request with a good key.
    pub(crate) fn admit_key(&self, key: HashedKey, address: Option<IpAddr>) -> Result<(), Error> {
        if let Some(address) = address.and_then(sender) {
            locked(&self.places).put(key, address);
        }
        self.keys.as_ref().map_or(Ok(()), |limiters| limiters.take(key)).map_err(too_many)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for; nobody in particular for this machine, where a proxy may stand for everybody.
fn sender(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { IPV6_BITS };
    (!address.is_loopback()).then(|| begins(address, bits))
}

fn too_many(retry_after: Duration) -> Error {
    Error::TooManyRequests { retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(failures: u32, requests: u32) -> Limits {
        let rate = Rate::per_minute(requests);
        Limits::new(Rates { per_key: rate, per_address: rate, failures: Rate::per_minute(failures) })
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is asked for")]
    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_own_measure_and_a_network_of_ipv6_is_one_address() {
        let limits = limits(1, 1);
        assert!(limits.admit(address("192.0.2.1")).is_ok());
        let refused = limits.admit(address("192.0.2.1"));
        assert!(matches!(refused, Err(Error::TooManyRequests { retry_after }) if !retry_after.is_zero()));
        assert!(limits.admit(address("192.0.2.2")).is_ok());
        assert!(limits.admit(address("::ffff:192.0.2.2")).is_err(), "the same, mapped into IPv6");
        assert!(limits.admit(address("2001:db8::1")).is_ok());
        assert!(limits.admit(address("2001:db8::ffff:2")).is_err());
    }

    #[test]
    fn this_machine_and_nowhere_have_no_address() {
        let limits = limits(1, 1);
        for _ in 0..5 {
            for from in [None, address("127.0.0.1"), address("::1")] {
                limits.failed(from);
                assert!(limits.admit(from).is_ok() && limits.may_try(None, from).is_ok());
            }
        }
    }

    #[test]
    fn who_guesses_too_often_is_not_looked_at_but_a_key_that_is_known_there() {
        let limits = limits(3, 1000);
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        let [known, elsewhere, unknown] = [1, 2, 3].map(|n| HashedKey::from_bytes([n; 32]));
        limits.admit_key(known, here).unwrap();
        limits.admit_key(elsewhere, there).unwrap();
        for _ in 0..4 {
            assert!(limits.may_try(Some(&unknown), here).is_ok());
            limits.failed(here);
        }
        assert!(limits.may_try(Some(&unknown), here).is_err() && limits.may_try(None, here).is_err());
        assert!(limits.may_try(Some(&elsewhere), here).is_err(), "a key of another place may be a guess");
        assert!(limits.may_try(Some(&known), here).is_ok());
        assert!(limits.may_try(Some(&unknown), there).is_ok());
    }

    #[test]
    fn a_key_has_its_own_measure_wherever_it_is_used() {
        let limits = limits(1, 2);
        let [one, other] = [1, 2].map(|n| HashedKey::from_bytes([n; 32]));
        assert!(limits.admit_key(one, address("192.0.2.1")).is_ok());
        assert!(limits.admit_key(one, None).is_ok());
        assert!(limits.admit_key(one, address("192.0.2.2")).is_err());
        assert!(limits.admit_key(other, None).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limits = limits(1, 1);
        for n in 0..20_000_u32 {
            let _ = limits.admit(Some(IpAddr::V4((0x0a00_0000 + n).into())));
        }
        let known = &limits.addresses.as_ref().unwrap().known;
        assert_eq!(locked(known).len(), REMEMBERED.get());
    }
}
