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
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let ignored = ignored_mask();
        let wanted = kinds.into_iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let caught: io::Result<_> = wanted.map(signal).collect();
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
