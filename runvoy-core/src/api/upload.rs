use serde::{Deserialize, Serialize};

use crate::code::CodeDigest;

/// The answer to `PUT /code/{sha256}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct CodeAnswer {
    /// SHA-256 of the archive: what `code` of a run names.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub sha256: CodeDigest,
    /// Its bytes.
    pub size: u64,
}
