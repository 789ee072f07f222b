//! Stream tokens: what a WebSocket is opened with, since whoever opens one from a browser can send no header.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::id::ExecutionId;
use crate::key::HashedKey;

const NONCE: usize = 24;
const ID: usize = 16;
const KEY: usize = 32;
/// Execution, key and time.
const TICKET: usize = ID + KEY + 8;
/// What the cipher adds.
const TAG: usize = 16;
const TOKEN: usize = NONCE + TICKET + TAG;

/// What a stream token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTicket {
    /// The one execution whose log it opens.
    pub execution: ExecutionId,
    /// The key of whoever asked for it: the token opens nothing that the key does not.
    pub key: HashedKey,
    /// Until when it is good, to the millisecond.
    pub until: Timestamp,
}

/// What seals stream tokens. Servers that share it know each other's tokens. `Debug` shows nothing of it.
///
/// ```
/// use runvoy_core::id::ExecutionId;
/// use runvoy_core::key::ApiKey;
/// use runvoy_core::stream_token::{StreamKey, StreamTicket};
///
/// let (execution, key) = (ExecutionId::random(), ApiKey::generate().hash());
/// let ticket = StreamTicket { execution, key, until: "2026-01-05T10:00:00Z".parse().unwrap() };
/// let token = StreamKey::derive(b"a master key").seal(&ticket);
/// assert_eq!(StreamKey::derive(b"a master key").open(token.reveal()), Some(ticket));
/// assert_eq!(StreamKey::derive(b"another").open(token.reveal()), None);
/// ```
#[derive(Clone)]
pub struct StreamKey(Zeroizing<[u8; 32]>);

impl StreamKey {
    /// The key that belongs to a master key. From the one nobody gets back to the other.
    pub fn derive(master_key: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key("runvoy 2026-11 stream token", master_key)))
    }

    /// A key that no other process has.
    pub fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        fill(key.as_mut());
        Self(key)
    }

    /// A token that says this to who has the key, and nothing to anybody else.
    ///
    /// Sealed and not only signed: of a preset key even the hash could be guessed at.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn seal(&self, ticket: &StreamTicket) -> StreamToken {
        let mut nonce = [0; NONCE];
        fill(&mut nonce);
        let mut text = Zeroizing::new(Vec::with_capacity(TICKET));
        text.extend_from_slice(&ticket.execution.as_u128().to_be_bytes());
        text.extend_from_slice(ticket.key.as_bytes());
        text.extend_from_slice(&ticket.until.as_millisecond().to_be_bytes());
        #[expect(clippy::expect_used, reason = "fails only on messages of many gigabytes")]
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), text.as_slice()).expect("a short message");
        StreamToken(Zeroizing::new(BASE64.encode([&nonce[..], &sealed].concat())))
    }

    /// What a token says; `None` where it is none of ours.
    pub fn open(&self, token: &str) -> Option<StreamTicket> {
        let bytes = BASE64.decode(token).ok().filter(|bytes| bytes.len() == TOKEN)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let text = Zeroizing::new(self.cipher().decrypt(&XNonce::from(*nonce), sealed).ok()?);
        let (id, rest) = text.split_first_chunk::<ID>()?;
        let (key, until) = rest.split_first_chunk::<KEY>()?;
        let until = i64::from_be_bytes(until.try_into().ok()?);
        Some(StreamTicket {
            execution: ExecutionId::from_u128(u128::from_be_bytes(*id)),
            key: HashedKey::from_bytes(*key),
            until: Timestamp::from_millisecond(until).ok()?,
        })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

#[expect(clippy::expect_used, reason = "getrandom(2) fails only on kernels older than any this runs on")]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has a random generator");
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(..)")
    }
}

/// What opens the log of one execution for 24 hours, as often as wanted, for as long as the key that it was made with is
/// good. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamToken(Zeroizing<String>);

impl StreamToken {
    /// The token itself, for the address that it is handed out in.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ApiKey;

    fn ticket() -> StreamTicket {
        StreamTicket {
            execution: ExecutionId::random(),
            key: ApiKey::generate().hash(),
            until: Timestamp::from_millisecond(1_767_607_201_123).unwrap(),
        }
    }

    #[test]
    fn a_token_that_was_changed_anywhere_opens_nothing() {
        let key = StreamKey::random();
        let token = key.seal(&ticket()).reveal().to_owned();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{token}");
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(std::str::from_utf8(&other).unwrap()), None, "at {at}");
        }
        let (longer, shorter) = (format!("{token}A"), &token[..token.len() - 1]);
        for other in ["", "A", "ä", longer.as_str(), shorter] {
            assert_eq!(key.open(other), None, "{other}");
        }
    }

    #[test]
    fn two_tokens_of_the_same_ticket_are_not_alike_and_show_nothing() {
        let (key, ticket) = (StreamKey::random(), ticket());
        let (one, other) = (key.seal(&ticket), key.seal(&ticket));
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(key.open(one.reveal()), key.open(other.reveal()));
        assert_eq!(format!("{one:?} {key:?}"), "StreamToken(..) StreamKey(..)");
    }
}
