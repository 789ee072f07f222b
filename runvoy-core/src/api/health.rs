use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `POST /health/reconcile`, in the shape that existing clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ReconcileAnswer {
    /// `ok`: the pass was made.
    pub status: String,
    /// What it found and mended.
    pub report: HealthReport,
}

/// What a pass of reconciliation found and mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct HealthReport {
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub timestamp: Timestamp,
    /// Live executions and their tasks.
    pub compute_status: ComputeStatus,
    /// Secrets.
    pub secrets_status: SecretsStatus,
    /// Roles.
    pub identity_status: IdentityStatus,
    /// People, and who owns what.
    pub authorizer_status: AuthorizerStatus,
    /// What was amiss, the first 100 of it.
    pub issues: Vec<HealthIssue>,
    /// Things that were mended.
    pub reconciled_count: u64,
    /// Things that could not be mended now; the next pass tries again.
    pub error_count: u64,
}

/// Live executions and their tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ComputeStatus {
    /// Live executions that were looked at.
    pub total_resources: u64,
    /// Of these, as they should be.
    pub verified_count: u64,
    /// Started again: their start was left half done.
    pub recreated_count: u64,
    /// Records that were brought in line with what their task was.
    pub tag_updated_count: u64,
    /// Given up: they could not be started in time.
    pub orphaned_count: u64,
    /// Which were given up.
    pub orphaned_resources: Vec<String>,
}

/// The secrets that the caller may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretsStatus {
    /// How many there are.
    pub total_secrets: u64,
    /// Of these, as they should be.
    pub verified_count: u64,
    /// Always 0: a secret has no tags of its own.
    pub tag_updated_count: u64,
    /// Those whose value cannot be read.
    pub missing_count: u64,
    /// Always 0: a value is stored with its secret.
    pub orphaned_count: u64,
    /// Always empty.
    pub orphaned_parameters: Vec<String>,
}

/// Roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct IdentityStatus {
    /// Whether the policies in force allow each of the four roles something.
    pub default_roles_verified: bool,
    /// Cloud roles of images that were found to be there.
    pub custom_roles_verified: u64,
    /// Cloud roles that images name.
    pub custom_roles_total: u64,
    /// Roles of the four that are allowed nothing.
    pub missing_roles: Vec<String>,
}

/// People, and who owns what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct AuthorizerStatus {
    /// Always empty: a role that there is not cannot be stored.
    pub users_with_invalid_roles: Vec<String>,
    /// Always empty: nobody is stored without a role.
    pub users_with_missing_roles: Vec<String>,
    /// Live executions, images and secrets that nobody owns.
    pub resources_with_missing_owners: Vec<String>,
    /// Of these, those that somebody owns who is not known, as `RESOURCE EMAIL`.
    pub orphaned_ownerships: Vec<String>,
    /// Of these, those whose creator is not among their owners, as `RESOURCE EMAIL`.
    pub missing_ownerships: Vec<String>,
    /// How many people were looked at.
    pub total_users_checked: u64,
    /// How many live executions, images and secrets were looked at.
    pub total_resources_checked: u64,
}

/// Something that was amiss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct HealthIssue {
    /// `execution`, `image`, `lock` or `secret`.
    pub resource_type: String,
    /// Which.
    pub resource_id: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// What was amiss.
    pub message: String,
    /// What was done about it.
    pub action: String,
}
