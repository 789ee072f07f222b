use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{AuditProblem, AuditReport, Checkpoint};

/// The answer to `GET /audit/head`: what to keep where whoever can write the log cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuditHead {
    /// Number of the last record; 0 of an empty log.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// When the checkpoint that says so was written.
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
    /// Checkpoints that agree with them.
    pub checkpoints: u64,
    /// Records after the last checkpoint: a change of these could not be told.
    pub unanchored: u64,
    /// The first thing that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<AuditProblem>,
}

impl From<AuditReport> for AuditVerification {
    fn from(report: AuditReport) -> Self {
        let AuditReport { records, hash, checkpoints, unanchored, problem } = report;
        Self { whole: problem.is_none(), records, hash, checkpoints, unanchored, problem }
    }
}
