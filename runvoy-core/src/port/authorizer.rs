use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::{BoxError, LoadedPolicies};
use crate::id::{Email, ExecutionId, LockName, ParseIdError, Role, SecretName};
use crate::secrets::WantedSecret;

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
    /// Make a pass of reconciliation.
    Reconcile,
    /// List people.
    ListUsers,
    /// Create a user.
    CreateUser,
    /// Take a user's key back.
    RevokeUser,
    /// Replace a key: the old one stops, a claim token fetches the new one.
    RotateUser,
    /// See locks, who holds them and who waits.
    ListLocks,
    /// Hold a lock, or wait for it.
    UseLock,
    /// Take a lock from its holder, who is stopped first.
    ReleaseLock,
    /// Free a lock although its holder may still run.
    AbandonLock,
    /// Read and verify the audit log.
    ReadAudit,
    /// Read the server's own log lines of a request.
    ReadTrace,
    /// See which policies are loaded, and which one decided.
    ReadPolicies,
    /// List images.
    ListImages,
    /// Read an image.
    ReadImage,
    /// Register an image.
    RegisterImage,
    /// Remove an image.
    DeleteImage,
    /// Run a command in an image.
    UseImage,
    /// List secrets: those that the caller may read.
    ListSecrets,
    /// See a secret, its value included.
    ReadSecret,
    /// Create a secret.
    CreateSecret,
    /// Change a secret.
    UpdateSecret,
    /// Delete a secret.
    DeleteSecret,
    /// Run a command with a secret.
    UseSecret,
    /// Upload code for a command to run on.
    UploadCode,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 29] = [
        Self::Run,
        Self::ListExecutions,
        Self::ReadExecution,
        Self::ReadLogs,
        Self::KillExecution,
        Self::Reconcile,
        Self::ListUsers,
        Self::CreateUser,
        Self::RevokeUser,
        Self::RotateUser,
        Self::ListLocks,
        Self::UseLock,
        Self::ReleaseLock,
        Self::AbandonLock,
        Self::ReadAudit,
        Self::ReadTrace,
        Self::ReadPolicies,
        Self::ListImages,
        Self::ReadImage,
        Self::RegisterImage,
        Self::DeleteImage,
        Self::UseImage,
        Self::ListSecrets,
        Self::ReadSecret,
        Self::CreateSecret,
        Self::UpdateSecret,
        Self::DeleteSecret,
        Self::UseSecret,
        Self::UploadCode,
    ];

    /// Its name, in policies, in the audit log and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::ListExecutions => "list_executions",
            Self::ReadExecution => "read_execution",
            Self::ReadLogs => "read_logs",
            Self::KillExecution => "kill_execution",
            Self::Reconcile => "reconcile",
            Self::ListUsers => "list_users",
            Self::CreateUser => "create_user",
            Self::RevokeUser => "revoke_user",
            Self::RotateUser => "rotate_user",
            Self::ListLocks => "list_locks",
            Self::UseLock => "use_lock",
            Self::ReleaseLock => "release_lock",
            Self::AbandonLock => "abandon_lock",
            Self::ReadAudit => "read_audit",
            Self::ReadTrace => "read_trace",
            Self::ReadPolicies => "read_policies",
            Self::ListImages => "list_images",
            Self::ReadImage => "read_image",
            Self::RegisterImage => "register_image",
            Self::DeleteImage => "delete_image",
            Self::UseImage => "use_image",
            Self::ListSecrets => "list_secrets",
            Self::ReadSecret => "read_secret",
            Self::CreateSecret => "create_secret",
            Self::UpdateSecret => "update_secret",
            Self::DeleteSecret => "delete_secret",
            Self::UseSecret => "use_secret",
            Self::UploadCode => "upload_code",
        }
    }

    /// Whether a policy may look at what is to be run: for starting a command, and for what it uses.
    pub const fn has_context(self) -> bool {
        matches!(self, Self::Run | Self::UseLock | Self::UseImage | Self::UseSecret)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(ParseIdError("unknown action"))
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
    /// Somebody.
    User(&'a Email),
    /// A lock.
    Lock(&'a LockName),
    /// A registered image.
    Image {
        /// The name it was registered under.
        name: &'a str,
        /// Its owners.
        owners: &'a [Email],
    },
    /// A secret.
    Secret {
        /// Its name.
        name: &'a SecretName,
        /// Its owners.
        owners: &'a [Email],
    },
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Execution { id, .. } => write!(f, "execution:{id}"),
            Self::User(email) => write!(f, "user:{email}"),
            Self::Lock(name) => write!(f, "lock:{name}"),
            Self::Image { name, .. } => write!(f, "image:{name}"),
            Self::Secret { name, .. } => write!(f, "secret:{name}"),
        }
    }
}

/// What a policy may look at when a command is to be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunContext<'a> {
    /// The command, as a shell reads it.
    pub command: &'a str,
    /// The image, where one was asked for.
    pub image: Option<&'a str>,
    /// Who owns the image.
    pub image_owners: &'a [Email],
    /// The lock it is to hold.
    pub lock: Option<&'a LockName>,
    /// The secrets it is to get.
    pub secrets: &'a [WantedSecret],
    /// The git repository it is to run on.
    pub git_repo: Option<&'a str>,
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
    /// With what, for actions that [have a context](Action::has_context), once the body is known.
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

    /// What it decides by, for people to read; nothing where it does not decide by policies.
    fn policies(&self) -> LoadedPolicies {
        LoadedPolicies::default()
    }
}
