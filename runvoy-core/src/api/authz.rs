use serde::{Deserialize, Serialize};

use crate::port::{Decision, LoadedPolicies, LoadedPolicy, PolicyEffect};
use crate::runvoy::CanI;

/// The body of `POST /authz/check`: may I do this? What is to be run stands in the fields after `resource`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AuthzCheck {
    /// An action of the policies, such as `run` or `use_lock`.
    pub action: String,
    /// What it is done to: `system` (the default), `execution:ID`, `user:EMAIL`, `lock:NAME`, `image:REF` or
    /// `secret:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The command, as a shell reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The lock it is to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The secrets it is to get.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "super::run::null_is_empty")]
    pub secrets: Vec<String>,
    /// The git repository it is to run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<String>,
    /// As if the request came from this address; its own unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// As if it were this hour, in UTC; the present one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<u64>,
}

impl AuthzCheck {
    /// Whether nothing is said of what is to be run.
    pub fn has_no_context(&self) -> bool {
        let bare = Self { action: self.action.clone(), resource: self.resource.clone(), ..Self::default() };
        *self == bare
    }
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuthzAnswer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The policy that decided; `null` where no policy allows it.
    pub policy: Option<String>,
    /// What decided: the action that was asked about, or what a run does beside it, such as `use_lock`.
    pub action: String,
    /// On what.
    pub resource: String,
}

impl From<CanI> for AuthzAnswer {
    fn from(answer: CanI) -> Self {
        let allowed = answer.is_allowed();
        let (Decision::Allow { policy } | Decision::Deny { policy }) = answer.decision;
        let policy = policy.map(|policy| policy.to_string());
        Self { allowed, policy, action: answer.action.to_string(), resource: answer.resource }
    }
}

/// `GET /policies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct PoliciesAnswer {
    /// How many sets of policies the server has had since it started, the present one included.
    pub generation: u64,
    /// The built-in ones, then those of the organisation's files.
    pub policies: Vec<PolicyData>,
}

/// A policy that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct PolicyData {
    /// What a decision calls it.
    pub id: String,
    /// The file it stands in; `null` of a built-in one.
    pub file: Option<String>,
    /// The line it begins in.
    pub line: usize,
    /// `permit` or `forbid`.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub effect: PolicyEffect,
    /// As it is written.
    pub text: String,
}

impl From<LoadedPolicies> for PoliciesAnswer {
    fn from(loaded: LoadedPolicies) -> Self {
        let LoadedPolicies { generation, policies } = loaded;
        Self { generation, policies: policies.into_iter().map(PolicyData::from).collect() }
    }
}

impl From<LoadedPolicy> for PolicyData {
    fn from(policy: LoadedPolicy) -> Self {
        let LoadedPolicy { id, file, line, effect, text } = policy;
        Self { id: id.to_string(), file, line, effect, text }
    }
}
