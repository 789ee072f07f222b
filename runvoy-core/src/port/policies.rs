use std::fmt;

use serde::{Deserialize, Serialize};

use super::PolicyId;

/// The policies that an authorizer decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedPolicies {
    /// How many sets there have been, the present one included; 0 of an authorizer that has no policies to show.
    pub generation: u64,
    /// The built-in ones, then those of the files in their order.
    pub policies: Vec<LoadedPolicy>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedPolicy {
    /// What decisions call it.
    pub id: PolicyId,
    /// The file it stands in; `None` of a built-in one.
    pub file: Option<String>,
    /// The line it begins in, from 1.
    pub line: usize,
    /// What it does where it applies.
    pub effect: PolicyEffect,
    /// As it is written, without comments before it.
    pub text: String,
}

/// What a policy does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyEffect {
    /// It allows, where nothing forbids.
    Permit,
    /// It forbids, whatever allows.
    Forbid,
}

impl fmt::Display for PolicyEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}
