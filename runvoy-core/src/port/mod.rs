//! What the service needs of the world: one trait each, with one meaning.
//!
//! Every implementation passes the conformance suite of its port (`testing`). A method says whether it is
//! atomic and idempotent, and what a dropped future leaves behind; where it says nothing, dropping the future
//! before it resolves leaves the effect done or not done, never half done.

mod audit_log;
mod authorizer;
mod code_store;
mod execution_store;
mod executor;
mod image_registry;
mod intake;
mod key_store;
mod lock_manager;
mod log_source;
mod policies;
mod resource;
mod secret_store;
mod store_error;
mod trace_log;

pub use crate::account::{Account, AccountClaim, ClaimOutcome, KeyExpiry, KeyState, NewClaim, User};
pub use audit_log::{AuditEvent, AuditKind, AuditLog, AuditPage};
pub use authorizer::{
    Action, Authorizer, AuthorizerError, AuthzRequest, Decision, PolicyId, Principal, Resource, RunContext,
};
pub use code_store::{CodeBody, CodeError, CodeStore};
pub use execution_store::{
    Created, ExecutionStore, Idempotency, ListPosition, ListQuery, LiveLimits, LiveScope, NewExecution, Page,
    Transition,
};
pub use executor::{
    Capabilities, Claim, Executor, ExecutorError, Phase, Progress, Reach, Refusal, Refused, StartTask,
    TaskEvent, TaskExit, TaskState, TaskWorkspace,
};
pub use image_registry::ImageRegistry;
pub use intake::{Apart, Intake, IntakeError, Taken};
pub use key_store::{KeyRecord, KeyStore};
pub use lock_manager::LockManager;
pub use log_source::{LogEnd, LogError, LogItem, LogPage, LogSource, ReadLimit};
pub use policies::{LoadedPolicies, LoadedPolicy, PolicyEffect};
pub use resource::ResourceKind;
pub use secret_store::{SecretCreated, SecretStore};
pub use store_error::{BoxError, StoreError};
pub use trace_log::{TraceLevel, TraceLine, TraceLog};
