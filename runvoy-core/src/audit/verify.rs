use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::anchor::{Anchor, Doubtful};
use super::{AuditRecord, Checkpoint, CheckpointKey, Head, link};

/// Unauthentic checkpoints that a report names; it counts all.
const NAMED: usize = 20;

/// In what way a log is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum ProblemKind {
    /// A record is not what its hash says, or does not follow the record before it.
    Changed,
    /// A record's number is not the next one.
    Missing,
    /// A record stands in another one's place, or has a number that none has.
    Moved,
    /// The records that a checkpoint, or a head that was kept, tells of are not there.
    MissingTail,
    /// The chain holds, but is not the one that a checkpoint, or a head that was kept, tells of: it was written anew.
    Rewritten,
    /// A checkpoint was changed, or made with another key, and nothing authentic covers what it tells of.
    BadCheckpoint,
}

/// The first thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuditProblem {
    /// The number of the record where it shows.
    pub seq: u64,
    /// What it is.
    pub kind: ProblemKind,
    /// The same in words.
    pub message: String,
}

/// A checkpoint that was changed, or made with another key: it proves nothing, and was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct UnauthenticCheckpoint {
    /// The record that it tells of.
    pub seq: u64,
    /// When it says that it was made.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Whether the record is as it tells.
    pub agrees: bool,
}

/// How a log compares with a head that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct KeptHead {
    /// The record that it tells of.
    pub seq: u64,
    /// Whether the log has that record, and all before it are those of then.
    pub agrees: bool,
}

/// Whether a log is whole, and how much of that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Records that are in order, from the first on.
    pub records: u64,
    /// The hash of the last of them.
    pub hash: String,
    /// Authentic checkpoints that agree with them.
    pub checkpoints: u64,
    /// Records after the last of these checkpoints and the kept head: who can write the file could have written them
    /// anew, or cut them off.
    pub unanchored: u64,
    /// How many checkpoints were left out because they are not authentic.
    pub unauthentic: u64,
    /// The first of these, by the records that they tell of.
    pub unauthentic_checkpoints: Vec<UnauthenticCheckpoint>,
    /// What became of the head that was kept elsewhere, if there was one.
    pub kept: Option<KeptHead>,
    /// The first thing that is wrong.
    pub problem: Option<AuditProblem>,
}

/// Reads a log from its beginning, record by record, and says whether it is whole.
#[derive(Debug)]
pub struct Verifier {
    head: Head,
    anchored: u64,
    agreed: u64,
    /// By number, the greatest first: the next one to compare is the last.
    ahead: Vec<Anchor>,
    doubtful: Doubtful,
    kept: Option<KeptHead>,
    problem: Option<AuditProblem>,
}

impl Verifier {
    /// Begins. Checkpoints that `key` did not make are left out and reported; without a key all are believed. `kept` is a
    /// head that was kept elsewhere: it needs nobody's word.
    pub fn new(checkpoints: Vec<Checkpoint>, key: Option<&CheckpointKey>, kept: Option<Head>) -> Self {
        let believed = |one: &Checkpoint| key.is_none_or(|key| one.is_authentic(key));
        let (authentic, others): (Vec<_>, _) = checkpoints.into_iter().partition(believed);
        let mut ahead: Vec<_> = authentic.into_iter().map(Anchor::Checkpoint).collect();
        let named = kept.as_ref().map(|head| KeptHead { seq: head.seq, agrees: false });
        ahead.extend(kept.map(Anchor::Kept));
        ahead.sort_by_key(|anchor| std::cmp::Reverse(anchor.head().seq));
        let mut new = Self {
            head: Head::default(),
            anchored: 0,
            agreed: 0,
            ahead,
            doubtful: Doubtful::new(others),
            kept: named,
            problem: None,
        };
        new.compare();
        new
    }

    /// Takes the next record as it is stored, and says whether there is any use in another.
    pub fn take(&mut self, record: &AuditRecord) -> bool {
        if self.problem.is_none() {
            self.problem = self.fault(record);
        }
        if self.problem.is_none() {
            self.head = record.head();
            self.compare();
        }
        self.problem.is_none()
    }

    /// What was found.
    pub fn finish(self) -> AuditReport {
        let missing = self.ahead.first().map(|last| self.missing(last));
        let problem = self.problem.or(missing).or_else(|| self.doubtful.problem(self.anchored));
        AuditReport {
            records: self.head.seq,
            unanchored: self.head.seq - self.anchored,
            hash: self.head.hash,
            checkpoints: self.agreed,
            unauthentic: self.doubtful.count(),
            unauthentic_checkpoints: self.doubtful.first(NAMED),
            kept: self.kept,
            problem,
        }
    }

    /// What was there may have been written anew before it was cut off: that is said, too.
    fn missing(&self, told_by: &Anchor) -> AuditProblem {
        let (from, to) = (self.head.seq + 1, told_by.head().seq);
        let mut message = format!("records {from} to {to} are missing: {told_by} tells of them");
        if self.anchored < self.head.seq {
            // Writing to a `String` cannot fail.
            let _ =
                write!(message, "; nothing vouches for records {} to {}", self.anchored + 1, self.head.seq);
        }
        AuditProblem { seq: from, kind: ProblemKind::MissingTail, message }
    }

    fn fault(&self, record: &AuditRecord) -> Option<AuditProblem> {
        let expected = self.head.seq + 1;
        let problem = |kind, message| Some(AuditProblem { seq: expected, kind, message });
        if record.seq == 0 {
            let message = format!("a record with a number below 1 was inserted before record {expected}");
            return problem(ProblemKind::Moved, message);
        }
        if record.seq != expected {
            let message = format!("record {expected} is missing: {} stands in its place", record.seq);
            return problem(ProblemKind::Missing, message);
        }
        if link(&self.head.hash, &record.text) == record.hash && record.said_seq() == Some(expected) {
            return None;
        }
        match record.said_seq() {
            Some(said) if said != expected => {
                let message = format!(
                    "record {said} stands in the place of record {expected}: records were reordered, inserted or removed"
                );
                problem(ProblemKind::Moved, message)
            }
            _ => {
                let message = format!("record {expected} was changed, or what stands before it was replaced");
                problem(ProblemKind::Changed, message)
            }
        }
    }

    /// Compares the head with all that tell of it.
    fn compare(&mut self) {
        self.doubtful.compare(&self.head);
        while let Some(anchor) = self.ahead.pop_if(|next| next.head().seq == self.head.seq) {
            if *anchor.head() == self.head {
                self.agree(&anchor);
            } else if self.problem.is_none() {
                let (from, to) = (self.anchored + 1, self.head.seq);
                let message = format!("records {from} to {to} are not those that {anchor} tells of");
                self.problem = Some(AuditProblem { seq: from, kind: ProblemKind::Rewritten, message });
            }
        }
    }

    fn agree(&mut self, anchor: &Anchor) {
        self.anchored = self.head.seq;
        match anchor {
            Anchor::Checkpoint(_) => self.agreed += 1,
            Anchor::Kept(_) => self.kept.iter_mut().for_each(|kept| kept.agrees = true),
        }
    }
}
