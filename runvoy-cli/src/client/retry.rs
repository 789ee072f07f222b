//! How often and how long to try again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Growing pauses, until patience ends.
#[derive(Debug)]
pub(crate) struct Backoff {
    patience: Duration,
    next: Duration,
    since: Option<Instant>,
}

impl Backoff {
    /// Tries again for `patience` after the first failure.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, next: FIRST, since: None }
    }

    /// It worked: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.patience);
    }

    /// Whether this is the first failure in a row.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since.is_none()
    }

    /// Waits before the next attempt, at least as long as the server asked for; false if patience has ended.
    pub(crate) async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.patience {
            return false;
        }
        let pause = self.next.max(asked.unwrap_or_default().min(LONGEST * 2));
        self.next = (self.next * 2).min(LONGEST);
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Duration::from_mins(1));
        let mut attempts = 0;
        while backoff.pause(None).await {
            attempts += 1;
        }
        assert!((15..25).contains(&attempts), "{attempts}");
        assert!(start.elapsed() < Duration::from_secs(66));
        backoff.reset();
        assert!(backoff.is_fresh() && backoff.pause(Some(Duration::from_secs(1))).await);
    }
}
