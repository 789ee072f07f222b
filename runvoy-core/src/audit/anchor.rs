//! What a chain is compared with.

use std::fmt;

use super::verify::UnauthenticCheckpoint;
use super::{AuditProblem, Checkpoint, Head, ProblemKind};

/// What says what the last record was at some time, and is believed.
#[derive(Debug)]
pub(super) enum Anchor {
    /// An authentic checkpoint.
    Checkpoint(Checkpoint),
    /// A head that somebody kept elsewhere.
    Kept(Head),
}

impl Anchor {
    pub(super) fn head(&self) -> &Head {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.head,
            Self::Kept(head) => head,
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(checkpoint) => write!(f, "the checkpoint of {}", checkpoint.at),
            Self::Kept(_) => f.write_str("the head that was kept"),
        }
    }
}

/// Checkpoints that were changed, or made with another key, and what the chain says of them.
#[derive(Debug)]
pub(super) struct Doubtful {
    /// By number, the greatest first: the next one to compare is the last.
    ahead: Vec<Checkpoint>,
    compared: Vec<UnauthenticCheckpoint>,
}

impl Doubtful {
    pub(super) fn new(mut checkpoints: Vec<Checkpoint>) -> Self {
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.head.seq));
        Self { ahead: checkpoints, compared: Vec::new() }
    }

    /// Compares those that tell of the chain as far as `head`.
    pub(super) fn compare(&mut self, head: &Head) {
        while let Some(one) = self.ahead.pop_if(|next| next.head.seq <= head.seq) {
            self.compared.push(named(&one, one.head == *head));
        }
    }

    pub(super) fn count(&self) -> u64 {
        (self.compared.len() + self.ahead.len()) as u64
    }

    /// The first of them, by number. With those that the chain does not reach it does not agree.
    pub(super) fn first(&self, at_most: usize) -> Vec<UnauthenticCheckpoint> {
        self.all().take(at_most).collect()
    }

    /// The first one that means harm: the chain says something else, or nothing authentic covers it.
    ///
    /// The others are what a master key that was replaced leaves behind.
    pub(super) fn problem(&self, anchored: u64) -> Option<AuditProblem> {
        let one = self.all().find(|one| !one.agrees || one.seq > anchored)?;
        let UnauthenticCheckpoint { seq, at, agrees } = one;
        let but = if agrees {
            format!("authentic ones reach record {anchored} only; `runvoy audit head` makes another")
        } else {
            "the records are not those that it tells of".to_owned()
        };
        let message = format!(
            "the checkpoint of record {seq} at {at} was changed, or made with another master key, and {but}"
        );
        Some(AuditProblem { seq, kind: ProblemKind::BadCheckpoint, message })
    }

    fn all(&self) -> impl Iterator<Item = UnauthenticCheckpoint> {
        self.compared.iter().cloned().chain(self.ahead.iter().rev().map(|one| named(one, false)))
    }
}

fn named(checkpoint: &Checkpoint, agrees: bool) -> UnauthenticCheckpoint {
    UnauthenticCheckpoint { seq: checkpoint.head.seq, at: checkpoint.at, agrees }
}
