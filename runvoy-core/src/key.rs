//! API keys: shown once, stored as hashes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::ParseIdError;
use crate::limits;

const PREFIX: &str = "rv_";
const SECRET_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The secret that a person or a machine sends as `X-API-Key`.
///
/// Ours has the form `rv_`, 43 base-62 characters (256 random bits) and 6 of their CRC-32: secret scanners
/// recognise it, and a mistyped one is refused without a lookup. Others (preset, imported) are taken as they
/// are from 24 characters on. `Debug` shows nothing of it.
///
/// ```
/// use runvoy_core::key::ApiKey;
///
/// let key = ApiKey::generate();
/// assert!(ApiKey::parse(key.reveal()).is_ok());
/// assert_eq!(format!("{key:?}"), "ApiKey(..)");
/// ```
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A new key of 256 random bits.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        #[expect(
            clippy::expect_used,
            reason = "getrandom(2) fails only on kernels older than any this runs on"
        )]
        getrandom::fill(bytes.as_mut()).expect("the system has a random generator");
        let secret = base62(bytes.as_ref(), SECRET_CHARS);
        let check = base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECK_CHARS);
        Self(Zeroizing::new(format!("{PREFIX}{secret}{check}")))
    }

    /// Takes a key as somebody sent it.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        // A header carries neither control characters nor blanks at its ends.
        let carried = text.trim() == text && !text.contains(char::is_control);
        if !carried || text.len() > limits::KEY_CHARS {
            return Err(ParseIdError(
                "an API key has at most 512 bytes, no control characters and no blanks at its ends",
            ));
        }
        if let Some(rest) = text.strip_prefix(PREFIX) {
            let (secret, check) = rest
                .split_at_checked(SECRET_CHARS)
                .filter(|(_, check)| check.len() == CHECK_CHARS)
                .ok_or(ParseIdError("an API key that begins with `rv_` has 52 characters"))?;
            if base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECK_CHARS) != check {
                return Err(ParseIdError("the API key is mistyped: its checksum does not match"));
            }
        } else if text.chars().count() < limits::FOREIGN_KEY_CHARS {
            return Err(ParseIdError("an API key has at least 24 characters"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself, for the one moment in which it is shown or sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> HashedKey {
        HashedKey(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// SHA-256 of an API key: what stores hold and compare. There is no way back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HashedKey([u8; 32]);

impl HashedKey {
    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest read back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for HashedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedKey(..)")
    }
}

/// The big-endian number `bytes` in base 62, most significant digit first, exactly `digits` long.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut out = vec![b'0'; digits];
    for digit in out.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            remainder = value % 62;
        }
        *digit = ALPHABET.get(remainder as usize).copied().unwrap_or(b'0');
    }
    out.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_has_the_documented_form() {
        let key = ApiKey::generate();
        let text = key.reveal();
        assert_eq!(text.len(), 52);
        assert!(text.starts_with("rv_") && text[3..].bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(text, ApiKey::generate().reveal());
    }

    #[test]
    fn a_mistyped_key_is_refused() {
        let text = ApiKey::generate().reveal().to_owned();
        for at in 3..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            assert!(ApiKey::parse(&String::from_utf8(wrong).unwrap()).is_err(), "position {at}");
        }
        assert!(ApiKey::parse(&text[..51]).is_err());
    }

    #[test]
    fn foreign_keys_are_taken_from_24_characters_on() {
        assert!(ApiKey::parse(&"x".repeat(24)).is_ok());
        assert!(ApiKey::parse(&"x".repeat(23)).is_err());
        assert!(ApiKey::parse(&"x".repeat(513)).is_err());
        assert!(ApiKey::parse("vierundzwanzig Zeichen, mit Ü").is_ok());
        assert!(ApiKey::parse(&"ü".repeat(23)).is_err());
        for bad in ["\n", "\0", " "] {
            assert!(ApiKey::parse(&format!("{bad}{}", "x".repeat(24))).is_err());
        }
    }

    #[test]
    fn base62_is_positional() {
        assert_eq!(base62(&[0, 0, 0, 61], 6), "00000z");
        assert_eq!(base62(&[0, 0, 0, 62], 6), "000010");
        assert_eq!(base62(&[0xff; 4], 6), "4gfFC3");
    }
}
