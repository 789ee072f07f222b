use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{AuditProblem, AuditReport, Checkpoint, KeptHead, UnauthenticCheckpoint};

/// The answer to `GET /audit/head`: what to keep where whoever can write the log cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuditHead {
    /// Number of the last record; 0 of an empty log.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// When the checkpoint that says so was made.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Its keyed hash; absent where the server has no key for checkpoints, and then none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

impl From<Checkpoint> for AuditHead {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { at, head, mac } = checkpoint;
        Self { seq: head.seq, hash: head.hash, at, mac }
    }
}

/// The answer to `GET /audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuditVerification {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// Records that are in order, from the first on.
    pub records: u64,
    /// The hash of the last of them.
    pub hash: String,
    /// Authentic checkpoints that agree with them.
    pub checkpoints: u64,
    /// Records after the last of these checkpoints and the kept head: a change of these could not be told.
    pub unanchored: u64,
    /// How many checkpoints were left out: they were changed, or made with another master key, and prove nothing.
    #[serde(default)]
    pub unauthentic: u64,
    /// The first 20 of these, by the records that they tell of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unauthentic_checkpoints: Vec<UnauthenticCheckpoint>,
    /// What became of the head that was asked about, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptHead>,
    /// The first thing that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<AuditProblem>,
}

impl From<AuditReport> for AuditVerification {
    fn from(report: AuditReport) -> Self {
        Self {
            whole: report.problem.is_none(),
            records: report.records,
            hash: report.hash,
            checkpoints: report.checkpoints,
            unanchored: report.unanchored,
            unauthentic: report.unauthentic,
            unauthentic_checkpoints: report.unauthentic_checkpoints,
            kept: report.kept,
            problem: report.problem,
        }
    }
}
