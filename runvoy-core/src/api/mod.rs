//! The shapes of the HTTP API, for servers and clients alike.

mod audit;
mod authz;
mod error;
mod execution;
mod health;
mod image;
mod lock;
mod log;
mod run;
mod secret;
mod trace;
mod upload;
mod user;
mod why;

pub use audit::{AuditHead, AuditVerification};
pub use authz::{AuthzAnswer, AuthzCheck, PoliciesAnswer, PolicyData};
pub use error::{ErrorBody, code};
pub use execution::{
    ExecutionRecord, ExecutionSummary, Greeting, Health, KillAnswer, KillRequest, LockUseData, Me,
    StatusAnswer,
};
pub use health::{
    AuthorizerStatus, ComputeStatus, HealthIssue, HealthReport, IdentityStatus, ReconcileAnswer,
    SecretsStatus,
};
pub use image::{
    ChangeImageRequest, DEFAULT_PLATFORM, ImageData, ImageDone, ImagesAnswer, MannerRequest,
    RegisterImageRequest,
};
pub use lock::{HolderData, LockData, LocksAnswer, ReleaseAnswer, WaiterData};
#[cfg(feature = "http")]
pub use log::StreamEvent;
pub use log::{
    BlockData, DisconnectFrame, EndData, GapData, LogPageAnswer, LogsAnswer, StatusData, WebsocketUrl, sse,
};
pub use run::{Command, RunAnswer, RunRequest};
pub use secret::{
    CreateSecretRequest, SecretAnswer, SecretData, SecretDone, SecretUseData, SecretsAnswer,
    UpdateSecretRequest,
};
pub use trace::{NamedImage, NamedResource, RelatedResources, TraceAnswer, TraceEvent};
pub use upload::CodeAnswer;
pub use user::{
    ClaimAnswer, CreateUserRequest, InvitationAnswer, RevokeAnswer, RevokeUserRequest, RotateUserRequest,
    UserData, UsersAnswer,
};
pub use why::{PhaseData, UsualData, WaitingData, WhyAnswer};

/// Where every route lives.
pub const BASE_PATH: &str = "/api/v1";
/// Where the WebSocket is, below [`BASE_PATH`].
pub const SOCKET_PATH: &str = "/ws";
/// The header that carries an API key.
pub const API_KEY_HEADER: &str = "x-api-key";
/// The header that carries a request's id, on every answer.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// The header that makes a repeated `POST /run` safe.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
