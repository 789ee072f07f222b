//! Time as an input.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time of day.
///
/// Decides when to look again and when something has expired, never who holds a right: clocks of several
/// machines disagree.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        truncate(Timestamp::now())
    }
}

/// A shared clock, as the service holds it.
pub type SharedClock = Arc<dyn Clock>;

/// Drops what is finer than a millisecond: stores keep milliseconds, and a record must read back equal.
pub fn truncate(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
