//! Claim tokens: the way to fetch a key, once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::ParseIdError;
use crate::key::ApiKey;

const BYTES: usize = 24;
const CHARS: usize = 32;
/// Keeps the key that seals apart from the hash that is stored.
const SEALING: &[u8] = b"runvoy: seals a preset key\0";

/// What a new user, or one whose key was replaced, fetches the key with: single-use, and good for
/// [`limits::CLAIM_WINDOW`](crate::limits::CLAIM_WINDOW). `Debug` shows nothing of it.
///
/// ```
/// use runvoy_core::claim::ClaimToken;
///
/// let token = ClaimToken::generate();
/// assert_eq!(ClaimToken::parse(token.reveal()).unwrap().hash(), token.hash());
/// assert_eq!(format!("{token:?}"), "ClaimToken(..)");
/// ```
#[derive(Clone)]
pub struct ClaimToken(Zeroizing<String>);

impl ClaimToken {
    /// A new token of 192 random bits.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn generate() -> Self {
        loop {
            let mut bytes = Zeroizing::new([0_u8; BYTES]);
            #[expect(
                clippy::expect_used,
                reason = "getrandom(2) fails only on kernels older than any this runs on"
            )]
            getrandom::fill(bytes.as_mut()).expect("the system has a random generator");
            let text = Zeroizing::new(BASE64.encode(bytes.as_ref()));
            // On a command line it would be taken for an option.
            if !text.starts_with('-') {
                return Self(text);
            }
        }
    }

    /// Takes a token as somebody sent it.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let is_token = text.len() == CHARS
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        is_token
            .then(|| Self(Zeroizing::new(text.to_owned())))
            .ok_or(ParseIdError("a claim token has 32 characters of URL-safe base64"))
    }

    /// The token itself, for the one moment in which it is handed out.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> HashedToken {
        HashedToken(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Closes a preset key, so that only this token opens it.
    pub fn seal(&self, key: &ApiKey) -> Result<SealedKey, SealError> {
        let sealed = self.cipher().encrypt(&nonce(), key.reveal().as_bytes()).map_err(|_| SealError)?;
        Ok(SealedKey(sealed))
    }

    /// Opens a preset key.
    pub fn unseal(&self, sealed: &SealedKey) -> Result<ApiKey, SealError> {
        let opened = self.cipher().decrypt(&nonce(), sealed.0.as_slice()).map_err(|_| SealError)?;
        let opened = Zeroizing::new(opened);
        std::str::from_utf8(&opened).ok().and_then(|text| ApiKey::parse(text).ok()).ok_or(SealError)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let mut digest = Sha256::new();
        digest.update(SEALING);
        digest.update(self.0.as_bytes());
        let key = Zeroizing::new(<[u8; 32]>::from(digest.finalize()));
        XChaCha20Poly1305::new((&*key).into())
    }
}

/// A token seals one key in its life, so its cipher needs no nonce to tell messages apart.
fn nonce() -> XNonce {
    XNonce::from([0; 24])
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken(..)")
    }
}

/// SHA-256 of a claim token: what stores hold and compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashedToken([u8; 32]);

impl HashedToken {
    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest read back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for HashedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedToken(..)")
    }
}

/// A preset key that waits for its claim.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey(Vec<u8>);

impl SealedKey {
    /// The ciphertext.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A ciphertext read back from a store.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedKey(..)")
    }
}

/// A sealed key that this token does not open: it was changed, or sealed for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the preset key cannot be unsealed")]
pub struct SealError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_form_that_clients_know() {
        let token = ClaimToken::generate();
        assert_eq!(token.reveal().len(), 32);
        assert_ne!(token.reveal(), ClaimToken::generate().reveal());
        for wrong in ["", "short", &"x".repeat(33), "Qm9ndXMtdG9rZW4tZXhhbXBsZS0wMDA/"] {
            assert!(ClaimToken::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_preset_key_opens_only_with_its_token_and_unchanged() {
        let (token, key) = (ClaimToken::generate(), ApiKey::parse("a-preset-key-of-24-chars").unwrap());
        let sealed = token.seal(&key).unwrap();
        assert_eq!(token.unseal(&sealed).unwrap().hash(), key.hash());
        assert_eq!(ClaimToken::generate().unseal(&sealed).unwrap_err(), SealError);
        let stored = String::from_utf8_lossy(sealed.as_bytes()).into_owned();
        assert!(!stored.contains("preset") && !format!("{sealed:?} {token:?}").contains(token.reveal()));
        for at in 0..sealed.as_bytes().len() {
            let mut changed = sealed.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(token.unseal(&SealedKey::from_bytes(changed)).is_err(), "byte {at}");
        }
    }
}
