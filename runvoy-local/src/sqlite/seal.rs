use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use runvoy_core::execution::StartRequest;
use runvoy_core::id::ExecutionId;
use runvoy_core::secrets::{Secret, SecretValue};
use zeroize::Zeroizing;

use super::error::Failure;
use super::master_key::MasterKey;

const NONCE: usize = 24;

/// Seals values with XChaCha20-Poly1305: a random nonce, then the ciphertext. A sealed value opens only in the
/// place that it was sealed for.
pub(super) struct Sealer(MasterKey);

impl Sealer {
    pub(super) fn new(key: MasterKey) -> Self {
        Self(key)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_bytes().into())
    }

    pub(super) fn seal(&self, place: &[u8], value: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let payload = Payload { msg: value, aad: place };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| Failure::Unseal)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn unseal(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE>().ok_or(Failure::Unseal)?;
        let payload = Payload { msg, aad: place };
        let value = self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| Failure::Unseal)?;
        Ok(Zeroizing::new(value))
    }

    pub(super) fn seal_request(&self, id: ExecutionId, request: &StartRequest) -> Result<Vec<u8>, Failure> {
        let json = Zeroizing::new(serde_json::to_vec(request).map_err(Failure::unreadable)?);
        self.seal(id.to_string().as_bytes(), &json)
    }

    pub(super) fn unseal_request(&self, id: ExecutionId, sealed: &[u8]) -> Result<StartRequest, Failure> {
        let json = self.unseal(id.to_string().as_bytes(), sealed)?;
        serde_json::from_slice(&json).map_err(Failure::unreadable)
    }

    pub(super) fn seal_secret(&self, secret: &Secret, value: &SecretValue) -> Result<Vec<u8>, Failure> {
        self.seal(place(secret).as_bytes(), value.reveal().as_bytes())
    }

    pub(super) fn unseal_secret(&self, secret: &Secret, sealed: &[u8]) -> Result<SecretValue, Failure> {
        let value = self.unseal(place(secret).as_bytes(), sealed)?;
        Ok(SecretValue::new(str::from_utf8(&value).map_err(Failure::unreadable)?))
    }
}

/// A value is of one version of one secret: it opens neither under another name nor as a later one.
fn place(secret: &Secret) -> String {
    format!("secret {} {} {}", secret.name, secret.created_by_request_id, secret.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let right = Sealer::new(MasterKey::from_bytes([7; 32]));
        let sealed = right.seal(b"here", b"value").unwrap();
        assert_eq!(right.unseal(b"here", &sealed).unwrap().as_slice(), b"value");
        assert!(right.unseal(b"there", &sealed).is_err());
        assert!(Sealer::new(MasterKey::from_bytes([8; 32])).unseal(b"here", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(right.unseal(b"here", &changed).is_err(), "byte {at}");
        }
        assert!(right.unseal(b"here", &sealed[..10]).is_err());
        assert_ne!(right.seal(b"here", b"value").unwrap(), sealed, "a nonce is used once");
    }
}
