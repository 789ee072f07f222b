use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Head;

/// The key of checkpoints. It seals nothing and opens nothing; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct CheckpointKey(Zeroizing<[u8; 32]>);

impl CheckpointKey {
    /// The key that belongs to a master key. From the one nobody gets back to the other.
    pub fn derive(master_key: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key("runvoy 2026-11 audit checkpoint", master_key)))
    }

    fn mac(&self, at: Timestamp, head: &Head) -> blake3::Hash {
        let text = format!("{}\n{}\n{}", at.as_millisecond(), head.seq, head.hash);
        blake3::keyed_hash(&self.0, text.as_bytes())
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckpointKey(..)")
    }
}

/// What the last record was at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When, to the millisecond.
    pub at: Timestamp,
    /// The last record then.
    #[serde(flatten)]
    pub head: Head,
    /// The keyed hash of the rest, in hex; absent where the server has no key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

impl Checkpoint {
    /// A checkpoint, authenticated if there is a key.
    pub fn new(at: Timestamp, head: Head, key: Option<&CheckpointKey>) -> Self {
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let mac = key.map(|key| key.mac(at, &head).to_hex().to_string());
        Self { at, head, mac }
    }

    /// Whether it was made with the key, and not changed since.
    pub fn is_authentic(&self, key: &CheckpointKey) -> bool {
        let said = self.mac.as_deref().and_then(|mac| blake3::Hash::from_hex(mac).ok());
        // Compared in constant time; capitals would be the same number in another spelling.
        said.is_some_and(|said| said == key.mac(self.at, &self.head))
            && self.mac.as_deref().is_some_and(|mac| !mac.contains(|c: char| c.is_ascii_uppercase()))
    }
}
