#![doc = include_str!("../README.md")]

pub mod account;
pub mod address;
pub mod audit;
pub mod claim;
pub mod clock;
pub mod code;
pub mod execution;
pub mod gate;
pub mod id;
pub mod images;
pub mod in_flight;
pub mod key;
pub mod limits;
pub mod locks;
pub mod log;
pub mod origin;
pub mod secrets;
pub mod state;
pub mod stream_token;

pub mod api;
pub mod port;

mod runvoy;

#[cfg(feature = "cedar")]
pub mod cedar;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::audit::AuditFilter;
pub use crate::port::AuditPage;
pub use crate::runvoy::{
    BuildError, Builder, Caller, CanI, ClaimedKey, Config, Error, ExecutionFilter, Finding, Follow,
    FollowItem, ForcedRelease, IdempotencyKey, Invitation, KillOutcome, LockView, LogQuery, LogRead,
    LogStart, Phase, PolicyChange, Rate, Rates, ReconcileOptions, ReconcileReport, RequestContext, Runvoy,
    SharedPage, Trace, Unauthenticated, UploadOutcome, Uploaded, Usual, Waiting, Why,
};
