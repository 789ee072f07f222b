use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{Email, RequestId, SecretName};
use crate::secrets::{Secret, SecretUse, SecretValue};

/// The body of `POST /secrets`. `Debug` does not show the value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct CreateSecretRequest {
    /// Its name: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// The variable that carries it in a command's environment.
    pub key_name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it holds.
    pub value: String,
}

/// The body of `PUT /secrets/{name}`. What is absent or empty stays. `Debug` does not show the value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct UpdateSecretRequest {
    /// The variable that carries it in a command's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The answer to `POST /secrets`, `PUT` and `DELETE /secrets/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretDone {
    /// The secret.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: SecretName,
    /// What happened.
    pub message: String,
    /// Which value it has, or had.
    #[serde(default)]
    pub version: u64,
}

/// A secret. `Debug` does not show its value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretData {
    /// Its name.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: SecretName,
    /// The variable that carries it in a command's environment.
    pub key_name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it holds; never in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Which value it has: 1 at first, and one more with each other.
    #[serde(default)]
    pub version: u64,
    /// Who created it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by: Email,
    /// Who owns it.
    #[cfg_attr(feature = "http", schema(value_type = Vec<String>))]
    pub owned_by: Vec<Email>,
    /// When it was created.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    /// Who last changed it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_by: Email,
    /// The request that created it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub modified_by_request_id: RequestId,
}

impl SecretData {
    /// A secret, with its value where that is to be shown.
    pub fn new(secret: Secret, value: Option<&SecretValue>) -> Self {
        Self {
            name: secret.name,
            key_name: secret.key_name,
            description: secret.description,
            value: value.map(|value| value.reveal().to_owned()),
            version: secret.version,
            created_by: secret.created_by,
            owned_by: secret.owned_by,
            created_at: secret.created_at,
            updated_at: secret.updated_at,
            updated_by: secret.updated_by,
            created_by_request_id: secret.created_by_request_id,
            modified_by_request_id: secret.modified_by_request_id,
        }
    }
}

/// `GET /secrets/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretAnswer {
    /// The secret.
    pub secret: SecretData,
}

/// `GET /secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretsAnswer {
    /// The secrets that the caller may read, by name.
    pub secrets: Vec<SecretData>,
    /// How many these are.
    pub total: usize,
}

/// A secret in an execution's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct SecretUseData {
    /// Its name.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub name: SecretName,
    /// The version that the command was given; `null` until it starts.
    pub version: Option<u64>,
}

impl From<&SecretUse> for SecretUseData {
    fn from(used: &SecretUse) -> Self {
        Self { name: used.name.clone(), version: used.version }
    }
}

impl fmt::Debug for CreateSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSecretRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for UpdateSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateSecretRequest").field("key_name", &self.key_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        f.debug_struct("SecretData")
            .field("name", &self.name)
            .field("version", version)
            .finish_non_exhaustive()
    }
}
