use serde::{Deserialize, Serialize};

use super::{AuditRecord, Checkpoint, CheckpointKey, Head, link};

/// In what way a log is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum ProblemKind {
    /// A record is not what its hash says, or does not follow the record before it.
    Changed,
    /// A record's number is not the next one.
    Missing,
    /// A record stands in another one's place.
    Moved,
    /// The records that a checkpoint tells of are not there.
    MissingTail,
    /// The chain holds, but is not the one that a checkpoint tells of: it was written anew.
    Rewritten,
    /// A checkpoint was changed, or made with another key.
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

/// Whether a log is whole, and how much of that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Records that are in order, from the first on.
    pub records: u64,
    /// The hash of the last of them.
    pub hash: String,
    /// Checkpoints that agree with them.
    pub checkpoints: u64,
    /// Records after the last such checkpoint: who can write the file could have written them anew, or cut them off.
    pub unanchored: u64,
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
    ahead: Vec<Checkpoint>,
    problem: Option<AuditProblem>,
}

impl Verifier {
    /// Begins. Without a key, checkpoints are compared with the records, but not authenticated.
    pub fn new(mut checkpoints: Vec<Checkpoint>, key: Option<&CheckpointKey>) -> Self {
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.head.seq));
        let forged = key.and_then(|key| checkpoints.iter().rev().find(|one| !one.is_authentic(key)));
        let problem = forged.map(|one| AuditProblem {
            seq: one.head.seq,
            kind: ProblemKind::BadCheckpoint,
            message: format!(
                "the checkpoint of record {} at {} was changed, or made with another master key",
                one.head.seq, one.at
            ),
        });
        let mut new = Self { head: Head::default(), anchored: 0, agreed: 0, ahead: checkpoints, problem };
        new.compare_checkpoints();
        new
    }

    /// Takes the next record as it is stored, and says whether there is any use in another.
    pub fn take(&mut self, record: &AuditRecord) -> bool {
        if self.problem.is_none() {
            self.problem = self.fault(record);
        }
        if self.problem.is_none() {
            self.head = record.head();
            self.compare_checkpoints();
        }
        self.problem.is_none()
    }

    /// What was found.
    pub fn finish(mut self) -> AuditReport {
        if self.problem.is_none()
            && let Some(last) = self.ahead.first()
        {
            self.problem = Some(AuditProblem {
                seq: self.head.seq + 1,
                kind: ProblemKind::MissingTail,
                message: format!(
                    "records {} to {} are missing: a checkpoint of {} tells of them",
                    self.head.seq + 1,
                    last.head.seq,
                    last.at
                ),
            });
        }
        AuditReport {
            records: self.head.seq,
            unanchored: self.head.seq - self.anchored,
            hash: self.head.hash,
            checkpoints: self.agreed,
            problem: self.problem,
        }
    }

    fn fault(&self, record: &AuditRecord) -> Option<AuditProblem> {
        let expected = self.head.seq + 1;
        let problem = |seq, kind, message| Some(AuditProblem { seq, kind, message });
        if record.seq != expected {
            let message = format!("record {expected} is missing: {} stands in its place", record.seq);
            return problem(expected, ProblemKind::Missing, message);
        }
        if link(&self.head.hash, &record.text) == record.hash && record.said_seq() == Some(expected) {
            return None;
        }
        match record.said_seq() {
            Some(said) if said != expected => {
                let message = format!(
                    "record {said} stands in the place of record {expected}: records were reordered, inserted or removed"
                );
                problem(expected, ProblemKind::Moved, message)
            }
            _ => {
                let message = format!("record {expected} was changed, or what stands before it was replaced");
                problem(expected, ProblemKind::Changed, message)
            }
        }
    }

    fn compare_checkpoints(&mut self) {
        while let Some(checkpoint) = self.ahead.pop_if(|next| next.head.seq == self.head.seq) {
            if checkpoint.head == self.head {
                self.anchored = self.head.seq;
                self.agreed += 1;
            } else if self.problem.is_none() {
                let (from, to) = (self.anchored + 1, self.head.seq);
                let message = format!(
                    "records {from} to {to} are not those that the checkpoint of {} tells of",
                    checkpoint.at
                );
                self.problem = Some(AuditProblem { seq: from, kind: ProblemKind::Rewritten, message });
            }
        }
    }
}
