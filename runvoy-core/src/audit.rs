//! The chain of audit records, the checkpoints that anchor it, and the check of both.
//!
//! A record's text is the JSON of its number and its event. Its hash is the SHA-256, in hex, of the hash before it
//! (64 zeros before the first) followed by the text: `printf %s%s PREVIOUS TEXT | sha256sum` tells the same. A
//! checkpoint says what the last record was at some time, under a key that the log's file does not hold.

mod anchor;
mod checkpoint;
mod filter;
mod verify;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::port::AuditEvent;

pub use checkpoint::{Checkpoint, CheckpointKey};
pub use filter::AuditFilter;
pub use verify::{AuditProblem, AuditReport, KeptHead, ProblemKind, UnauthenticCheckpoint, Verifier};

/// What stands for the hash of the record before the first.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain: its last record, or what stands before the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The record's number; 0 of an empty chain.
    pub seq: u64,
    /// The record's hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// An event in its place, exactly as it is stored: a damaged one is read like any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// The JSON of number and event.
    pub text: String,
    /// What binds it to the records before it.
    pub hash: String,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl AuditRecord {
    /// The record that carries `event` after `head`. `body` is the event's [`body`], made beforehand.
    pub fn after(head: &Head, body: &str) -> Self {
        let seq = head.seq + 1;
        let text = format!("{{\"seq\":{seq},{body}");
        let hash = link(&head.hash, &text);
        Self { seq, text, hash }
    }

    /// The event. An error means that the text was changed.
    pub fn event(&self) -> Result<AuditEvent, serde_json::Error> {
        serde_json::from_str(&self.text)
    }

    /// The chain's head when this was its last record.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    /// One line of JSON: the text and, as its last field, the hash. What is no longer JSON stands in `damaged`.
    pub fn to_line(&self) -> String {
        match self.text.strip_suffix('}') {
            Some(open) if self.event().is_ok() => format!("{open},\"hash\":{}}}\n", quoted(&self.hash)),
            _ => format!(
                "{{\"seq\":{},\"damaged\":{},\"hash\":{}}}\n",
                self.seq,
                quoted(&self.text),
                quoted(&self.hash)
            ),
        }
    }

    /// The number that the text itself says.
    fn said_seq(&self) -> Option<u64> {
        serde_json::from_str::<Numbered>(&self.text).ok().map(|numbered| numbered.seq)
    }
}

/// The part of a record's text that does not depend on its number.
pub fn body(event: &AuditEvent) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_string(event)?;
    json.remove(0);
    Ok(json)
}

/// The hash of a record's text after a record's hash.
pub fn link(previous: &str, text: &str) -> String {
    hex(&Sha256::new().chain_update(previous).chain_update(text).finalize())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
