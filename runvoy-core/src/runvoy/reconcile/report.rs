//! What a pass of reconciliation has to say.

use crate::Error;
use crate::id::ExecutionId;

/// What a pass found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileReport {
    /// Live executions looked at.
    pub checked: u64,
    /// Brought in line with what their task was.
    pub settled: u64,
    /// Started again.
    pub started: u64,
    /// Told to stop, again.
    pub stopped: u64,
    /// Given up.
    pub given_up: u64,
    /// Locks that were taken from an ended execution, or given to one that waited.
    pub handed_over: u64,
    /// Left for the next pass, because something did not answer.
    pub failed: u64,
    /// Live executions among these.
    pub(crate) unmended: u64,
    /// What was amiss, as much of it as somebody would read.
    pub(crate) found: Vec<Found>,
}

impl ReconcileReport {
    /// Things that were mended.
    pub fn mended(&self) -> u64 {
        self.settled + self.started + self.stopped + self.given_up + self.handed_over
    }

    pub(super) fn note(&mut self, kind: &'static str, id: String, what: Amiss, message: String) {
        if self.found.len() < NAMED {
            self.found.push(Found { kind, id, what, message });
        }
    }

    pub(super) fn count(&mut self, id: ExecutionId, mended: Result<Mended, Error>) {
        self.checked += 1;
        let (what, message) = match mended {
            Ok(Mended::Nothing) => return,
            Ok(Mended::Settled) => {
                self.settled += 1;
                (Amiss::Settled, "its record did not say what its task was".to_owned())
            }
            Ok(Mended::Started) => {
                self.started += 1;
                (Amiss::Started, "its start was left half done".to_owned())
            }
            Ok(Mended::Stopped) => {
                self.stopped += 1;
                (Amiss::Stopped, "its task was still there".to_owned())
            }
            Ok(Mended::GivenUp) => {
                self.given_up += 1;
                (Amiss::GivenUp, "it could not be started in time".to_owned())
            }
            Err(error) => {
                self.failed += 1;
                self.unmended += 1;
                (Amiss::Left, error.to_string())
            }
        };
        self.note("execution", id.to_string(), what, message);
    }
}

/// Things that a report names.
const NAMED: usize = 100;

/// Something that was amiss, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) what: Amiss,
    pub(crate) message: String,
}

impl Found {
    pub(crate) fn is_given_up(&self) -> bool {
        self.what == Amiss::GivenUp
    }
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amiss {
    Settled,
    Started,
    Stopped,
    GivenUp,
    Left,
}

impl Amiss {
    /// How bad it is, and what was done.
    pub(crate) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Settled => ("info", "brought in line"),
            Self::Started => ("warning", "started again"),
            Self::Stopped => ("info", "told to stop again"),
            Self::GivenUp => ("warning", "given up"),
            Self::Left => ("error", "left for the next pass"),
        }
    }
}

/// What was done about one execution.
pub(super) enum Mended {
    Nothing,
    Settled,
    Started,
    Stopped,
    GivenUp,
}
