//! The code that a command starts in: what a run asks for, and what stays of it in the record.

use serde::{Deserialize, Serialize};

use crate::id::SecretName;

/// What a workspace is filled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A git checkout.
    Git(GitCode),
}

impl Code {
    /// The repository, where it comes from one.
    pub fn git(&self) -> Option<&GitCode> {
        let Self::Git(git) = self;
        Some(git)
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
