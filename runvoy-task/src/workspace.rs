use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the agent puts into an empty working directory before the command starts in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// A git checkout.
    Git(GitWorkspace),
    /// Uploaded code.
    Upload(UploadWorkspace),
}

/// A shallow checkout of exactly one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitWorkspace {
    /// `https://…`, without user and password; `http://…` only without a token.
    pub url: String,
    /// A branch, a tag, `refs/…`, `HEAD`, or all 40 digits of a commit.
    #[serde(default = "default_ref")]
    pub git_ref: String,
    /// The directory of the repository that the command starts in; its root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Gives access to a private repository. Always masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// How the server is reached.
    #[serde(default)]
    pub network: Network,
}

impl GitWorkspace {
    /// The ref that is checked out when nobody names one.
    pub const DEFAULT_REF: &str = "main";
    /// The user name that goes with a token: forges take it, or any.
    pub const TOKEN_USER: &str = "x-access-token";

    /// The default ref of a public repository, in its root.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), git_ref: default_ref(), path: None, token: None, network: Network::default() }
    }
}

fn default_ref() -> String {
    GitWorkspace::DEFAULT_REF.to_owned()
}

/// The operator's settings for ways out. A run cannot change them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// PEM certificates that are trusted beside the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// The proxy for `https`, as in `HTTPS_PROXY`. May hold a password, which is masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy: Option<Secret>,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
}

/// Code that the caller uploaded: a gzipped tar archive, named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadWorkspace {
    /// Where the agent finds the archive.
    pub archive: PathBuf,
    /// SHA-256 of the archive as it is, 64 lower-case hex digits.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Shows the value to whoever needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
