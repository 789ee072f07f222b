use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{Email, RequestId, Role};
use crate::port::{KeyState, User};

/// Somebody, as lists and answers show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct UserData {
    /// Who.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub email: Email,
    /// What they may do, by default.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub role: Role,
    /// Since when they are known.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// Whether their key was taken back.
    pub revoked: bool,
    /// When they were last seen, to the minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, format = DateTime))]
    pub last_used: Option<Timestamp>,
    /// When their key expires, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, format = DateTime))]
    pub key_expires_at: Option<Timestamp>,
    /// Whether that time is over, by the server's clock: the key they have opens nothing any more.
    #[serde(default)]
    pub key_expired: bool,
    /// When their claim token lapses, while they have no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, format = DateTime))]
    pub claim_expires_at: Option<Timestamp>,
    /// The request that created them.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by_request_id: RequestId,
    /// The request that last changed them.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub modified_by_request_id: RequestId,
}

impl UserData {
    /// Somebody as they are at a time.
    pub fn at(now: Timestamp, user: User) -> Self {
        Self {
            key_expired: user.has_expired_key(now),
            claim_expires_at: match user.key {
                KeyState::Invited { until } | KeyState::Rotated { until } if !user.revoked => Some(until),
                _ => None,
            },
            email: user.email,
            role: user.role,
            created_at: user.created_at,
            revoked: user.revoked,
            last_used: user.last_used,
            key_expires_at: user.key_expires_at,
            created_by_request_id: user.created_by_request_id,
            modified_by_request_id: user.modified_by_request_id,
        }
    }
}

/// `GET /users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct UsersAnswer {
    /// Everybody, by email.
    pub users: Vec<UserData>,
}

/// The body of `POST /users/create`. `Debug` shows no key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct CreateUserRequest {
    /// Who: a bare address.
    pub email: String,
    /// `admin`, `operator`, `developer` or `viewer`.
    pub role: String,
    /// A key of 24 characters or more to be theirs; one is made if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Seconds, from now, that the key is good; for ever if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

impl fmt::Debug for CreateUserRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateUserRequest")
            .field("email", &self.email)
            .field("role", &self.role)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// The body of `POST /users/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RotateUserRequest {
    /// Whose key is replaced.
    pub email: String,
    /// Seconds, from now, that the new key is good; as long as the old one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// The body of `POST /users/revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RevokeUserRequest {
    /// Whose key is taken back.
    pub email: String,
}

/// The answer to `POST /users/create` and `POST /users/rotate`. `Debug` shows no token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct InvitationAnswer {
    /// Who.
    pub user: UserData,
    /// What they fetch the key with, once and within 15 minutes.
    pub claim_token: String,
    /// What the admin should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl fmt::Debug for InvitationAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationAnswer").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The answer to `POST /users/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct RevokeAnswer {
    /// What happened.
    pub message: String,
    /// To whom.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub email: Email,
}

/// The answer to `GET /claim/{token}`. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ClaimAnswer {
    /// The key, shown this once.
    pub api_key: String,
    /// Whose it is.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub user_email: Email,
    /// What happened.
    pub message: String,
}

impl fmt::Debug for ClaimAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimAnswer").field("user_email", &self.user_email).finish_non_exhaustive()
    }
}
