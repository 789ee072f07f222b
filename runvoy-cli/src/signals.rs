//! Signals that ask this process to end.

use std::io;

use crate::error::{CliError, Kind};

/// Ctrl-C, SIGTERM and SIGHUP, as far as they were not ignored before (`nohup`).
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    /// Catches them from here on.
    pub(crate) fn catch() -> Result<Self, CliError> {
        use tokio::signal::unix::SignalKind;
        Self::catch_all(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])
    }

    /// Catches them without SIGHUP, which means something else to who uses [`Hangups`].
    #[cfg(feature = "local")]
    pub(crate) fn catch_ends() -> Result<Self, CliError> {
        use tokio::signal::unix::SignalKind;
        Self::catch_all(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    fn catch_all(kinds: &[tokio::signal::unix::SignalKind]) -> Result<Self, CliError> {
        let ignored = ignored_mask();
        let wanted = kinds.iter().copied().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let caught: io::Result<_> = wanted.map(tokio::signal::unix::signal).collect();
        caught.map(Self).map_err(|e| failed(&e))
    }

    /// Waits for one. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        let any = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        if any.len() == 0 {
            return std::future::pending().await;
        }
        futures_util::future::select_all(any).await;
    }
}

/// SIGHUP as the wish to read something again.
#[cfg(all(unix, feature = "local"))]
#[derive(Debug)]
pub(crate) struct Hangups(Option<tokio::signal::unix::Signal>);

#[cfg(all(unix, feature = "local"))]
impl Hangups {
    /// Catches them from here on, where they are `wanted`.
    pub(crate) fn catch(wanted: bool) -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let caught = wanted.then(|| signal(SignalKind::hangup())).transpose();
        caught.map(Self).map_err(|e| failed(&e))
    }

    /// Waits for one. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        let caught = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if caught.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Signals that whoever started us had us ignore, one bit each.
#[cfg(unix)]
fn ignored_mask() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals(());

#[cfg(not(unix))]
impl Signals {
    /// Catches it.
    pub(crate) fn catch() -> Result<Self, CliError> {
        Ok(Self(()))
    }

    /// Waits for one. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
fn failed(error: &io::Error) -> CliError {
    CliError::new(Kind::NotRun, format!("signals cannot be caught: {error}"))
}
