use serde::{Deserialize, Serialize};

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong, in a few words.
    pub error: String,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What exactly, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Who holds the lock, for [`code::LOCK_HELD`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Box<super::HolderData>>,
}

/// Values of [`ErrorBody::code`].
pub mod code {
    /// The key is unknown.
    pub const INVALID_API_KEY: &str = "INVALID_API_KEY";
    /// The key's user was revoked.
    pub const API_KEY_REVOKED: &str = "API_KEY_REVOKED";
    /// The key has expired.
    pub const API_KEY_EXPIRED: &str = "API_KEY_EXPIRED";
    /// The stream token is unknown or has expired.
    pub const INVALID_STREAM_TOKEN: &str = "INVALID_STREAM_TOKEN";
    /// A policy refuses what a run asks for.
    pub const FORBIDDEN: &str = "FORBIDDEN";
    /// A field is not as it must be.
    pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
    /// A query value is not as it must be (in the form that existing clients know).
    pub const INVALID_QUERY: &str = "invalid_request";
    /// There is no such thing.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// There is no such secret.
    pub const SECRET_NOT_FOUND: &str = "SECRET_NOT_FOUND";
    /// A secret has that name already.
    pub const SECRET_ALREADY_EXISTS: &str = "SECRET_ALREADY_EXISTS";
    /// It is there already, or was used, or must stay as it is.
    pub const CONFLICT: &str = "CONFLICT";
    /// The path is known, the method is not.
    pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    /// The body is too large.
    pub const BODY_TOO_LARGE: &str = "BODY_TOO_LARGE";
    /// The idempotency key stands for another request.
    pub const IDEMPOTENCY_CONFLICT: &str = "IDEMPOTENCY_CONFLICT";
    /// The lock is held.
    pub const LOCK_HELD: &str = "LOCK_HELD";
    /// Too many wait for the lock.
    pub const QUEUE_FULL: &str = "QUEUE_FULL";
    /// Too many executions are live.
    pub const TOO_MANY_EXECUTIONS: &str = "TOO_MANY_EXECUTIONS";
    /// More requests came than are let in.
    pub const TOO_MANY_REQUESTS: &str = "TOO_MANY_REQUESTS";
    /// The server does not take new work at the moment.
    pub const SERVICE_UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";
    /// A store did not answer.
    pub const DATABASE_ERROR: &str = "DATABASE_ERROR";
    /// The route is a WebSocket, and the request does not ask for one.
    pub const UPGRADE_REQUIRED: &str = "UPGRADE_REQUIRED";
    /// This server cannot do it.
    pub const NOT_IMPLEMENTED: &str = "NOT_IMPLEMENTED";
    /// Something unexpected.
    pub const INTERNAL_ERROR: &str = "INTERNAL_ERROR";
}
