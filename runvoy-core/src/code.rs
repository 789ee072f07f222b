//! The code that a command starts in: what a run asks for, and what stays of it in the record.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{ParseIdError, SecretName};

/// What a workspace is filled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A git checkout.
    Git(GitCode),
    /// Code that was uploaded.
    Upload(UploadedCode),
}

impl Code {
    /// The repository, where it comes from one.
    pub fn git(&self) -> Option<&GitCode> {
        match self {
            Self::Git(git) => Some(git),
            Self::Upload(_) => None,
        }
    }

    /// The upload, where it comes from one.
    pub fn upload(&self) -> Option<&UploadedCode> {
        match self {
            Self::Upload(upload) => Some(upload),
            Self::Git(_) => None,
        }
    }
}

/// One commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitCode {
    /// Its address, which holds no user and no password.
    pub repo: String,
    /// The branch, tag or commit that was asked for.
    pub git_ref: String,
    /// The directory of the repository that the command starts in; its root if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The secret that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretName>,
    /// The commit that was checked out, in hex; only in a record, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// An archive that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedCode {
    /// What names it.
    pub digest: CodeDigest,
    /// Its bytes; 0 until it was looked for.
    pub size: u64,
}

/// What names an archive: the SHA-256 of its bytes, 64 lower-case hex digits.
///
/// ```
/// use runvoy_core::code::{CodeDigest, CodeHasher};
///
/// let mut hasher = CodeHasher::default();
/// hasher.update(b"abc");
/// let digest = hasher.finish();
/// assert_eq!(digest.to_string().parse::<CodeDigest>(), Ok(digest));
/// assert!(digest.to_string().starts_with("ba7816bf"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeDigest([u8; 32]);

impl CodeDigest {
    /// Its first digits, for people.
    pub fn short(&self) -> String {
        format!("code {:.12}…", self.to_string())
    }
}

impl fmt::Display for CodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for CodeDigest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseIdError("the SHA-256 of an archive is 64 lower-case hex digits"))
    }
}

impl Serialize for CodeDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CodeDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes the digest of an archive while its bytes come.
#[derive(Clone, Default)]
pub struct CodeHasher(Sha256);

impl CodeHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that came.
    pub fn finish(self) -> CodeDigest {
        CodeDigest(self.0.finalize().into())
    }
}

impl fmt::Debug for CodeHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeHasher").finish_non_exhaustive()
    }
}
