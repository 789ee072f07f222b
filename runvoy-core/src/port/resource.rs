use super::{Action, Resource};

/// What sort of thing a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// The system as a whole.
    System,
    /// An execution.
    Execution,
    /// Somebody.
    User,
    /// A lock.
    Lock,
    /// A registered image.
    Image,
    /// A secret.
    Secret,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::System, Self::Execution, Self::User, Self::Lock, Self::Image, Self::Secret];

    /// The kind of a resource.
    pub const fn of(resource: &Resource<'_>) -> Self {
        match resource {
            Resource::System => Self::System,
            Resource::Execution { .. } => Self::Execution,
            Resource::User(_) => Self::User,
            Resource::Lock(_) => Self::Lock,
            Resource::Image { .. } => Self::Image,
            Resource::Secret { .. } => Self::Secret,
        }
    }

    /// How one is written, as [`Resource`] displays it.
    pub const fn form(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Execution => "execution:ID",
            Self::User => "user:EMAIL",
            Self::Lock => "lock:NAME",
            Self::Image => "image:REF",
            Self::Secret => "secret:NAME",
        }
    }
}

impl Action {
    /// What it is done to.
    pub const fn acts_on(self) -> ResourceKind {
        match self {
            Self::Run
            | Self::ListExecutions
            | Self::Reconcile
            | Self::ListUsers
            | Self::ListLocks
            | Self::ReadAudit
            | Self::ReadTrace
            | Self::ReadPolicies
            | Self::ListImages
            | Self::ListSecrets
            | Self::UploadCode => ResourceKind::System,
            Self::ReadExecution | Self::ReadLogs | Self::KillExecution => ResourceKind::Execution,
            Self::CreateUser | Self::RevokeUser | Self::RotateUser => ResourceKind::User,
            Self::UseLock | Self::ReleaseLock | Self::AbandonLock => ResourceKind::Lock,
            Self::ReadImage | Self::RegisterImage | Self::DeleteImage | Self::UseImage => ResourceKind::Image,
            Self::ReadSecret
            | Self::CreateSecret
            | Self::UpdateSecret
            | Self::DeleteSecret
            | Self::UseSecret => ResourceKind::Secret,
        }
    }
}
