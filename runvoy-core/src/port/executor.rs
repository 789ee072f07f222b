use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use runvoy_task::{EndReason, GitWorkspace, PhaseTiming};

use super::BoxError;
use crate::execution::{LogSummary, StartRequest, TaskHandle};
use crate::id::{Email, ExecutionId};
use crate::secrets::SecretValue;

/// What an executor can do. The service refuses a request for what is missing before any effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Capabilities {
    /// Whether commands run in images; where they do not, an image in a request is ignored.
    pub images: bool,
    /// Whether `cpu` and `memory` bind.
    pub resources: bool,
    /// Whether a working directory can be filled with code.
    pub workspaces: bool,
    /// Whether a kill may shorten the grace of a run.
    pub shorter_grace: bool,
    /// How far commands are from the server's own data.
    pub reach: Reach,
    /// The longest grace it can give.
    pub max_grace: Option<Duration>,
}

/// How far commands are from what is the server's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// They cannot read it.
    #[default]
    Apart,
    /// They can read it, its keys too: roles then bind only the honest.
    OneTrustDomain,
}

/// A task to be started.
///
/// Carries variables and secrets, so `Debug` shows the id alone.
#[derive(Clone)]
pub struct StartTask {
    /// The execution.
    pub id: ExecutionId,
    /// What to run, and for how long.
    pub request: StartRequest,
    /// Secrets, by the variables that carry them, under the caller's variables: one of the same name hides its secret.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The variables that Runvoy itself sets, over the caller's.
    pub reserved_env: BTreeMap<String, String>,
    /// What is put into the working directory first.
    pub workspace: Option<TaskWorkspace>,
    /// Values that must not appear in the log.
    pub mask: Vec<String>,
    /// Who asked for it.
    pub user: Email,
    /// Stored log bytes after which the command is killed.
    pub log_limit: u64,
}

impl fmt::Debug for StartTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartTask").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The code that a task starts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskWorkspace {
    /// A git checkout. How servers are reached is the executor's own matter: it sets the network.
    Git(GitWorkspace),
    /// Code that was uploaded.
    Upload {
        /// SHA-256 of the archive, 64 lower-case hex digits.
        sha256: String,
        /// Its bytes.
        size: u64,
    },
}

/// How a start gate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// No task of the execution ever runs its command.
    Revoked,
    /// A task had claimed the command before.
    Claimed,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It has not claimed the command; it may yet start.
    Pending,
    /// It has claimed the command.
    Running {
        /// When it claimed.
        started_at: Timestamp,
        /// The executor's name for it.
        handle: Option<TaskHandle>,
        /// What its image is exactly, where it has one.
        image_digest: Option<String>,
        /// Whether the directory to start in is being prepared: the command itself has not begun.
        is_preparing: bool,
    },
    /// It has ended: nothing of it runs any more.
    Exited(Box<TaskExit>),
    /// It has not claimed the command, and can never be started as asked.
    Refused(Box<Refusal>),
    /// The platform answered, has no such task, and will not start it later. Of a command that was claimed, with nothing
    /// left of its task, an executor that knows says `Exited` with [`EndReason::Lost`]: nobody starts that one again.
    Gone,
    /// The platform could not say.
    Unknown,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExit {
    /// The command's own code, 128 + n for a signal; `None` if it never ran.
    pub exit_code: Option<i32>,
    /// Why.
    pub reason: EndReason,
    /// One sentence for people, where there is something to say.
    pub message: Option<String>,
    /// When the command started.
    pub started_at: Timestamp,
    /// When the last process of the task was gone.
    pub finished_at: Timestamp,
    /// What its log holds.
    pub log: Option<LogSummary>,
    /// What its image was exactly, where it had one.
    pub image_digest: Option<String>,
    /// The commit that was checked out, where its code came from git.
    pub commit: Option<String>,
    /// How long each of its phases took, where that was measured.
    pub phases: Vec<PhaseTiming>,
}

impl TaskExit {
    /// An end of which no more is known.
    pub fn new(
        exit_code: Option<i32>,
        reason: EndReason,
        started_at: Timestamp,
        finished_at: Timestamp,
    ) -> Self {
        let (message, log, image_digest, commit, phases) = (None, None, None, None, vec![]);
        Self { exit_code, reason, message, started_at, finished_at, log, image_digest, commit, phases }
    }
}

/// Why a task can never be started as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What stands in the way.
    pub of: Refused,
    /// One sentence for people: what is wrong, and what to do about it.
    pub message: String,
}

/// What stands in the way of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its image cannot be had.
    Image,
    /// Anything else.
    Start,
}

/// How far a task is that has not ended: what a follower may be shown while there is no output yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step it is at.
    pub phase: Phase,
    /// How far it is in it, for people.
    pub detail: Option<String>,
}

/// What refines STARTING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its image is being fetched.
    Pulling,
}

impl Phase {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pulling => "pulling",
        }
    }
}

/// News of a task. May be late, repeated and out of order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// Whose task.
    pub id: ExecutionId,
    /// What it was when the event was made.
    pub state: TaskState,
}

/// What can go wrong in an executor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The task can never be started as asked.
    #[error("{message}")]
    Refused {
        /// What stands in the way.
        of: Refused,
        /// What is wrong, and what to do about it.
        message: String,
        /// The platform's reason.
        source: Option<BoxError>,
    },
    /// The platform takes no new task at the moment, by its own decision.
    #[error("{message}")]
    Busy {
        /// Why, and what to do about it.
        message: String,
    },
    /// The platform did not answer, or could not do it now.
    #[error("{what} is not available")]
    Unavailable {
        /// What a caller may know of it.
        what: &'static str,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// The platform's reason.
        source: BoxError,
    },
}

impl ExecutorError {
    /// A task that can never be started as asked: what is wrong, and what to do about it.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { of: Refused::Start, message: message.into(), source: None }
    }

    /// A call that may succeed later.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::unavailable_of("the executor", source)
    }

    /// A call that may succeed later, once `what` is there again.
    pub fn unavailable_of(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { what, retryable: true, source: source.into() }
    }
}

/// Starts, stops and describes tasks.
///
/// # Contract
///
/// - [`start`](Self::start) may be called twice for one execution, also after a crash in between, also at once: at
///   most one task claims the command. An answer means that the platform has the task, or had it already; it may
///   still be fetching its image.
/// - [`revoke`](Self::revoke) decides the start gate against every task of the execution, past and future: after
///   [`Claim::Revoked`] its command never runs, however late or often a task starts. It is idempotent, and its
///   answer for an execution never changes.
/// - [`stop`](Self::stop) sends the stop signal and, after the grace, `SIGKILL`, to the whole process tree. It
///   answers once that is under way, not when it is done. Stopping what has ended, or never was, is no error.
/// - [`describe`](Self::describe) answers [`TaskState::Exited`] and [`TaskState::Gone`] only when nothing of the task
///   can run any more, and answers for every id it is asked about. `Exited` stays `Exited`.
/// - What turns out after a start was answered to stand in the way of its task for good is told as
///   [`TaskState::Refused`], by event and by [`describe`](Self::describe).
/// - [`events`](Self::events) may lose, repeat and reorder: it makes things quick, `describe` makes them right.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What it can do. One that can do none of it need not say so.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Whether it takes new tasks: asked before an execution is recorded.
    ///
    /// One that takes whatever it is given need not say so.
    async fn admit(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    /// Starts a task, and says what the platform calls it where that is not derived from the id.
    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError>;

    /// Closes the start gate, if no task has claimed the command.
    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError>;

    /// Stops a task that has claimed its command; `None` leaves it the grace it was started with.
    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError>;

    /// Tells what became of tasks, in the order asked.
    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError>;

    /// How far a task is that has not claimed its command yet, if there is something to tell.
    ///
    /// A change is told by an event of the state [`TaskState::Pending`].
    fn progress(&self, _id: ExecutionId) -> Option<Progress> {
        None
    }

    /// News of tasks, from now on. Ends only with the executor.
    ///
    /// One that has none to tell leaves all to `describe`.
    fn events(&self) -> BoxStream<'static, TaskEvent> {
        stream::pending().boxed()
    }
}
