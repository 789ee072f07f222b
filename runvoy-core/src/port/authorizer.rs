use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::BoxError;
use crate::id::{Email, ExecutionId, Role};

/// Something that somebody may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start a command.
    Run,
    /// List executions.
    ListExecutions,
    /// Read an execution's record.
    ReadExecution,
    /// Read an execution's log.
    ReadLogs,
    /// Stop an execution.
    KillExecution,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] =
        [Self::Run, Self::ListExecutions, Self::ReadExecution, Self::ReadLogs, Self::KillExecution];

    /// Its name, in policies, in the audit log and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::ListExecutions => "list_executions",
            Self::ReadExecution => "read_execution",
            Self::ReadLogs => "read_logs",
            Self::KillExecution => "kill_execution",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal<'a> {
    /// The user.
    pub user: &'a Email,
    /// Their role.
    pub role: Role,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The system as a whole: starting and listing.
    System,
    /// An execution and those who own it.
    Execution {
        /// Which.
        id: ExecutionId,
        /// Its owners.
        owners: &'a [Email],
    },
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Execution { id, .. } => write!(f, "execution:{id}"),
        }
    }
}

/// What a policy may look at when a command is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunContext<'a> {
    /// The command, as a shell reads it.
    pub command: &'a str,
    /// The image, where one was asked for.
    pub image: Option<&'a str>,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
    /// The hour of the day, UTC, 0 to 23.
    pub hour: u8,
}

/// A question to an authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthzRequest<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// Does what.
    pub action: Action,
    /// To what.
    pub resource: Resource<'a>,
    /// With what, for [`Action::Run`] once its body is known.
    pub run: Option<RunContext<'a>>,
}

/// The name of a policy, as its author gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PolicyId(pub Arc<str>);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The answer of an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed, by this policy.
    Allow {
        /// The policy; where several allow it, one of them, always the same.
        policy: Option<PolicyId>,
    },
    /// It is not allowed.
    Deny {
        /// The policy that forbids it; `None` where no policy allows it.
        policy: Option<PolicyId>,
    },
}

/// Why an authorizer could not decide. The service then refuses with "unavailable", never with a decision.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct AuthorizerError {
    /// What happened.
    pub what: String,
    /// The engine's own reason.
    pub source: Option<BoxError>,
}

/// Allows or denies, and says why.
///
/// # Contract
///
/// - Closed by default: what no policy allows is denied; without policies everything is.
/// - Decides by what it is given, and by nothing else that changes: equal questions get equal answers until the
///   policies change.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Decides.
    async fn authorize(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError>;
}
