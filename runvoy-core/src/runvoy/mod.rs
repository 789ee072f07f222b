//! The service: the only place where ports meet.

mod access;
mod audit;
mod builder;
mod can_i;
mod changes;
mod claims;
mod code;
mod config;
mod error;
mod follow;
mod hand_out;
mod health;
mod images;
mod keys;
mod kill;
mod lock_admin;
mod locks;
mod logs;
mod page_cache;
mod people;
mod policy_record;
mod quote;
mod rates;
mod read;
mod reconcile;
mod run;
mod secrets;
mod standing;
mod start;
mod stored;
mod streams;
mod task_event;
mod tend;
mod trace;
mod uploads;
mod uses;
mod validate;
mod why;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::{Caller, RequestContext};
pub use builder::{BuildError, Builder};
pub use can_i::CanI;
pub use claims::ClaimedKey;
pub use config::Config;
#[cfg(feature = "http")]
pub(crate) use error::denial;
pub use error::{Error, Unauthenticated};
pub use follow::{Follow, FollowItem};
pub use kill::KillOutcome;
pub use lock_admin::{ForcedRelease, LockView};
pub use locks::Waiting;
pub use logs::{LogQuery, LogRead, LogStart};
pub use page_cache::SharedPage;
pub use people::Invitation;
pub use policy_record::PolicyChange;
pub use rates::{Rate, Rates};
pub use read::ExecutionFilter;
pub use reconcile::{ReconcileOptions, ReconcileReport};
pub use run::IdempotencyKey;
pub use trace::Trace;
pub use uploads::{UploadOutcome, Uploaded};
pub use why::{Finding, Phase, Usual, Why};

use crate::audit::CheckpointKey;
use crate::clock::SharedClock;
use crate::in_flight::InFlight;
use crate::port::{
    AuditLog, Authorizer, CodeStore, ExecutionStore, Executor, ImageRegistry, Intake, KeyStore, LockManager,
    LogSource, SecretStore, TraceLog,
};
use crate::stream_token::StreamKey;

/// The service: every operation that a front-end offers.
///
/// Cheap to clone; clones are the same service. Every method that acts for somebody takes a [`Caller`], whom
/// [`authenticate`](Self::authenticate) makes, and asks the authorizer before anything else.
#[derive(Clone)]
pub struct Runvoy {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<dyn KeyStore>,
    executions: Arc<dyn ExecutionStore>,
    locks: Arc<dyn LockManager>,
    images: Option<Arc<dyn ImageRegistry>>,
    secrets: Option<Arc<dyn SecretStore>>,
    code: Option<Arc<dyn CodeStore>>,
    executor: Arc<dyn Executor>,
    logs: Arc<dyn LogSource>,
    audit: Arc<dyn AuditLog>,
    intake: Arc<dyn Intake>,
    authorizer: Arc<dyn Authorizer>,
    trace: Option<Arc<dyn TraceLog>>,
    clock: SharedClock,
    checkpoint_key: Option<CheckpointKey>,
    stream_key: StreamKey,
    config: Config,
    changes: Arc<changes::Changes>,
    pages: page_cache::PageCache,
    revealed: audit::Revealed,
    telling: InFlight,
    key_changes: standing::KeyChanges,
    uses: uses::Uses,
    /// Who makes a check of health: one at a time.
    checking: Arc<Semaphore>,
    rates: rates::Limits,
    /// Places for uploads.
    uploads: Semaphore,
    draining: CancellationToken,
    /// What goes on although its caller may have gone.
    begun: TaskTracker,
}

impl Runvoy {
    /// Begins to put a service together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What the service was configured with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What the clock says.
    #[cfg(feature = "http")]
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.inner.clock.now()
    }

    /// From now on refuses new executions; everything else goes on.
    pub fn drain(&self) {
        self.inner.draining.cancel();
        self.inner.changes.wake_all();
    }

    /// Resolves once every start that was under way is done; after [`drain`](Self::drain) no other begins.
    pub async fn settled(&self) {
        self.inner.begun.close();
        self.inner.begun.wait().await;
    }

    /// Resolves when [`drain`](Self::drain) is called.
    #[cfg(feature = "http")]
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.draining.clone().cancelled_owned()
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.is_cancelled()
    }
}

impl std::fmt::Debug for Runvoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runvoy").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// An error and its causes, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
