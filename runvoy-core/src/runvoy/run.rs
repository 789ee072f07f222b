//! The order of work of a start, step by step.

use std::fmt;
use std::str::FromStr;

use super::access::RunGranted;
use super::locks::{Authorized, Entered, run_context};
use tracing::Instrument as _;

use super::{Caller, Error, Runvoy, images, validate};
use crate::api::RunRequest;
use crate::execution::{Execution, StartRequest};
use crate::id::{ExecutionId, ParseIdError};
use crate::limits;
use crate::port::{
    Action, AuditEvent, Idempotency, IntakeError, LiveLimits, NewExecution, Resource, StoreError, Taken,
};
use crate::secrets::SecretUse;
use crate::state::Status;

/// What makes a repeated run safe: 1 to 255 visible ASCII characters, scoped to its user.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let fits =
            (1..=limits::IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
            .ok_or(ParseIdError("an idempotency key is 1 to 255 visible ASCII characters"))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Runvoy {
    /// Whether a caller may run anything at all: for a front-end that wants to know before it reads a body.
    pub async fn check_run(&self, caller: &Caller) -> Result<(), Error> {
        self.authorize(caller, Action::Run, Resource::System, None).await.map(|_| ())
    }

    /// Starts a command: answers once the execution is recorded for good, before the command runs.
    ///
    /// With an idempotency key the same request answers the same execution for 24 hours. Whatever stops this half
    /// way, [`reconcile`](Self::reconcile) finishes.
    pub async fn run(
        &self,
        caller: &Caller,
        request: RunRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Execution, Error> {
        self.check_run(caller).await?;
        let mut run = validate::run(request, &self.inner.config, &self.inner.executor.capabilities())?;
        let now = self.inner.clock.now();
        run.start.asked.address = caller.context.address;
        let image = self.choose_image(&mut run).await?;
        let variables = self.look_up_secrets(&mut run.start.asked.secrets).await?;
        let lock = run.lock.as_ref().map(|lock| &lock.name);
        let context = run_context(&run.command, &run.start, lock, now);
        let granted = self.authorize_run(caller, context).await?;
        validate::one_secret_each(variables).map_err(|message| Error::invalid("secrets", message))?;
        self.find_code(&mut run.start.code).await?;
        self.admit().await?;

        let mut new = self.new_execution(caller, &run, idempotency, now);
        new.record.image_id = image;
        let decided = to_record(granted, &new.record);
        self.although_the_caller_goes(self.clone().begin(decided, new)).await
    }

    /// Puts the image into a run, where the executor has images, and answers its id.
    async fn choose_image(&self, run: &mut validate::ValidRun) -> Result<Option<String>, Error> {
        if !self.inner.executor.capabilities().images {
            return Ok(None);
        }
        let image = self.image_of_run(run.start.asked.image.as_deref()).await?;
        let network = run.network.take();
        images::check_network(&image, network.as_ref())
            .map_err(|message| Error::invalid("network", message))?;
        images::settle(&mut run.start, &image, network);
        Ok(Some(image.id.to_string()))
    }

    /// Does something to its end, also if whoever waits for it no longer does: a client that hangs up between the
    /// record and the start would leave the start to the next pass of [`reconcile`](Self::reconcile).
    pub(crate) async fn although_the_caller_goes<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.inner.begun.spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::shutting_down()),
        }
    }

    async fn begin(self, decided: Vec<AuditEvent>, new: NewExecution) -> Result<Execution, Error> {
        let asked = (new.record.created_by_request_id, new.record.created_by.clone());
        let (id, request) = (new.record.id, new.request.clone());
        match self.inner.intake.take_in(decided, new).await {
            Ok(Taken::New(record)) if record.status == Status::Queued => {
                self.take_or_wait(&record, Some(Box::new(request))).await
            }
            Ok(Taken::New(record)) => {
                let record = self.start(&record, request).await?;
                Ok(self.after_start(record).await)
            }
            Ok(Taken::Existing(known)) => {
                self.record_repetition(asked, id, known.id).await?;
                self.finish_start(*known).await
            }
            Ok(Taken::TooMany { scope, limit }) => Err(Error::TooManyLive { scope, limit }),
            Err(IntakeError::Executions(StoreError::Conflict { .. })) => Err(Error::IdempotencyConflict),
            Err(IntakeError::Executions(other)) => Err(Error::store("the execution store")(other)),
            Err(IntakeError::Audit(error)) => Err(Error::store("the audit log")(error)),
        }
    }

    /// Gets the lock of a new execution, or waits for it in line.
    async fn take_or_wait(
        &self,
        record: &Execution,
        request: Option<Box<StartRequest>>,
    ) -> Result<Execution, Error> {
        let name = || record.lock.as_ref().map(|lock| lock.name.clone());
        match (self.enter(record, Authorized::JustNow(request)).await?, name()) {
            (Entered::In(record), _) => Ok(*record),
            (Entered::Held(holder), Some(name)) => Err(Error::LockHeld { name, holder }),
            (Entered::Full, Some(name)) => {
                Err(Error::QueueFull { name, depth: self.inner.config.queue_depth })
            }
            (_, None) => Ok(record.clone()),
        }
    }

    async fn admit(&self) -> Result<(), Error> {
        if self.is_draining() {
            return Err(Error::shutting_down());
        }
        Ok(self.inner.executor.admit().await?)
    }

    /// A replay finishes what its creator left half done. The start gate makes a doubled start harmless.
    async fn finish_start(&self, record: Execution) -> Result<Execution, Error> {
        match record.status {
            Status::Queued => self.take_or_wait(&record, None).await,
            Status::Starting => {
                let record = self.start_stored(&record).await?;
                Ok(self.after_start(record).await)
            }
            _ => Ok(record),
        }
    }

    fn new_execution(
        &self,
        caller: &Caller,
        run: &validate::ValidRun,
        idempotency: Option<IdempotencyKey>,
        now: jiff::Timestamp,
    ) -> NewExecution {
        let config = &self.inner.config;
        let record = Execution {
            id: ExecutionId::random(),
            created_by: caller.user.clone(),
            owned_by: vec![caller.user.clone()],
            command: run.command.clone(),
            image_id: None,
            image_digest: None,
            status: if run.lock.is_some() { Status::Queued } else { Status::Starting },
            status_reason: None,
            status_detail: None,
            exit_code: None,
            created_at: now,
            started_at: None,
            completed_at: None,
            attempted_at: now,
            timeout: run.start.timeout.as_secs(),
            grace: run.start.grace.as_secs(),
            task: None,
            stop: None,
            created_by_request_id: caller.context.request_id,
            modified_by_request_id: caller.context.request_id,
            log: None,
            lock: run.lock.clone(),
            secrets: run.start.asked.secrets.iter().map(SecretUse::of).collect(),
            code: run.start.code.clone(),
        };
        NewExecution {
            record,
            request: run.start.clone(),
            idempotency: idempotency.map(|key| Idempotency {
                key: key.0,
                fingerprint: run.fingerprint,
                expires_at: now
                    .saturating_add(jiff::SignedDuration::from_secs(
                        i64::try_from(limits::IDEMPOTENCY_WINDOW.as_secs()).unwrap_or(i64::MAX),
                    ))
                    .unwrap_or(jiff::Timestamp::MAX),
            }),
            limits: LiveLimits { server: config.max_live, user: config.max_live_per_user },
        }
    }
}

/// What is recorded of a run before it is accepted. Each of its secrets is an event of its own: who wants to know who used
/// one looks for that.
fn to_record(granted: RunGranted, record: &Execution) -> Vec<AuditEvent> {
    let RunGranted { run, secrets } = granted;
    let resource = Resource::Execution { id: record.id, owners: &[] }.to_string();
    let by = format!("by execution {}", record.id);
    let uses = secrets.into_iter().map(|granted| granted.about(None, Some(&by)));
    std::iter::once(run.about(Some(resource), Some(&record.command))).chain(uses).collect()
}
