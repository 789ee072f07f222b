//! Who gets a lock, who waits, and who is next: the one path for a run, a hand-off and a repair alike.

use jiff::Timestamp;

use super::access::what_a_run_uses;
use super::error::denial;
use super::stored::Stored;
use super::{Error, Runvoy};
use crate::code::Code;
use crate::execution::{Execution, LockUse, Patch, StartRequest};
use crate::id::{ExecutionId, LockName};
use crate::locks::{Holder, LockAnswer, LockCommand};
use crate::port::{
    Action, AuditEvent, AuditKind, AuthzRequest, Decision, Principal, Resource, RunContext, Transition,
};
use crate::state::{Reason, Status};

/// What became of an execution that wants a lock.
pub(crate) enum Entered {
    /// It starts, waits, or has gone on since.
    In(Box<Execution>),
    /// The lock is held, and it does not wait.
    Held(Option<Box<Holder>>),
    /// Too many wait.
    Full,
}

/// An execution's place in the line for its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// 1 is next; 0 for one that has just been made the holder.
    pub position: usize,
    /// Who holds the lock.
    pub holder: Option<Holder>,
}

/// When whoever asks for a lock was last authorised to.
#[derive(Clone, Debug)]
pub(crate) enum Authorized {
    /// By the request that asks; what starts the execution, where that is at hand.
    JustNow(Option<Box<StartRequest>>),
    /// When the execution was recorded.
    Earlier,
}

/// Whether somebody may still run what they asked for when their turn comes.
enum Verdict {
    /// With what it starts, where that was looked for.
    Allowed(Option<Box<StartRequest>>),
    Denied {
        why: String,
        policy: Option<String>,
    },
}

impl Runvoy {
    /// Asks for the lock of a QUEUED execution. The same execution may ask any number of times.
    pub(crate) async fn enter(&self, record: &Execution, authorized: Authorized) -> Result<Entered, Error> {
        let Some(lock) = &record.lock else { return Ok(Entered::In(Box::new(record.clone()))) };
        let command = LockCommand::Acquire {
            execution: record.id,
            user: record.created_by.clone(),
            when_held: lock.when_held,
            max_depth: self.inner.config.queue_depth,
        };
        match self.lock_command(&lock.name, command).await? {
            LockAnswer::Granted(holder) => {
                let record = match authorized {
                    Authorized::JustNow(request) => {
                        let (record, next) = self.begin_turn(record, &holder, request).await?;
                        self.pass_on_or_leave(&lock.name, next).await;
                        record
                    }
                    Authorized::Earlier => {
                        self.pass_on(&lock.name, Some(holder)).await?;
                        self.get_record(record.id).await?
                    }
                };
                Ok(Entered::In(Box::new(record)))
            }
            LockAnswer::Held(Some(holder)) if self.free_if_over(&lock.name, &holder).await? => {
                Box::pin(self.enter(record, authorized)).await
            }
            LockAnswer::Held(holder) => {
                self.turn_away(record, "it is held", Entered::Held(holder.map(Box::new))).await
            }
            LockAnswer::QueueFull => self.turn_away(record, "too many wait for it", Entered::Full).await,
            _ => Ok(Entered::In(Box::new(record.clone()))),
        }
    }

    /// Takes a lock from a holder that has ended and has not let go yet: whoever saw its end may come at once.
    async fn free_if_over(&self, name: &LockName, holder: &Holder) -> Result<bool, Error> {
        let store = Error::store("the execution store");
        let record = self.inner.executions.get(holder.execution).await.map_err(store)?;
        let is_over = record.is_none_or(|record| record.status.is_terminal());
        if is_over {
            self.pass_on(name, Some(holder.clone())).await?;
        }
        Ok(is_over)
    }

    async fn turn_away(&self, record: &Execution, why: &str, answer: Entered) -> Result<Entered, Error> {
        let name = record.lock.as_ref().map_or("", |lock| lock.name.as_str());
        let patch = self.ended(Reason::LockHeld, format!("the lock `{name}` was not to be had: {why}"));
        let record = self.end(record.id, &[Status::Queued], &patch).await?;
        let is_refused = record.status_reason == Some(Reason::LockHeld);
        Ok(if is_refused { answer } else { Entered::In(Box::new(record)) })
    }

    /// Starts the execution that holds a lock now; answers the next holder if it cannot be started.
    async fn begin_turn(
        &self,
        record: &Execution,
        holder: &Holder,
        request: Option<Box<StartRequest>>,
    ) -> Result<(Execution, Option<Holder>), Error> {
        let Some(lock) = &record.lock else { return Ok((record.clone(), None)) };
        let patch = Patch::granted(lock, holder, self.inner.clock.now());
        let record = match self.try_transition(record.id, &[Status::Queued], &patch).await? {
            Transition::Applied(record) => match request {
                Some(request) => self.start(&record, *request).await?,
                None => self.start_stored(&record).await?,
            },
            // Somebody else has begun its turn, or it has ended.
            Transition::Refused(record) => *record,
        };
        if keeps(&record, holder) {
            return Ok((record, None));
        }
        let next = self.release(&lock.name, holder.token).await?;
        Ok((record, next))
    }

    /// [`pass_on`](Self::pass_on) for whoever has an answer of their own to give: what fails is left to the next pass.
    pub(crate) async fn pass_on_or_leave(&self, name: &LockName, next: Option<Holder>) {
        if let Err(error) = self.pass_on(name, next).await {
            tracing::warn!(lock.name = %name, error = %super::error_chain(&error), "lock not passed on yet");
        }
    }

    /// The lock has a new holder: it starts, or passes the lock on, until one starts or nobody waits.
    pub(crate) async fn pass_on(&self, name: &LockName, mut next: Option<Holder>) -> Result<(), Error> {
        while let Some(holder) = next {
            // Every path to an end leads here: on the stack, each of them would carry the whole of a start.
            next = Box::pin(self.give_turn(name, &holder)).await?;
        }
        Ok(())
    }

    async fn give_turn(&self, name: &LockName, holder: &Holder) -> Result<Option<Holder>, Error> {
        let store = Error::store("the execution store");
        let record = self.inner.executions.get(holder.execution).await.map_err(store)?;
        // A lock is not granted before its execution is recorded, so nobody will ever come for this grant.
        let Some(record) = record else { return self.release(name, holder.token).await };
        let (record, request) = match self.decide_again(&record).await? {
            // Somebody else may have begun its turn meanwhile: then it is the holder, and stays it.
            Verdict::Denied { why, policy } => {
                let patch = self.denied(&record, why, policy);
                (self.end(record.id, &[Status::Queued], &patch).await?, None)
            }
            Verdict::Allowed(request) => (record, request),
        };
        match record.status {
            Status::Queued => Ok(self.begin_turn(&record, holder, request).await?.1),
            _ if keeps(&record, holder) => Ok(None),
            _ => self.release(name, holder.token).await,
        }
    }

    /// Lets go of what an ended execution held or waited for, and starts who is next. Idempotent.
    ///
    /// The end is written down whatever happens here: what fails is left to the next pass.
    pub(crate) async fn free_lock(&self, record: &Execution) {
        let Some(lock) = &record.lock else { return };
        if let Err(error) = self.try_to_free(lock, record.id).await {
            tracing::warn!(
                execution.id = %record.id, lock.name = %lock.name,
                error = %super::error_chain(&error), "lock not freed yet"
            );
        }
    }

    async fn try_to_free(&self, lock: &LockUse, id: ExecutionId) -> Result<(), Error> {
        let token = match lock.token {
            Some(token) => token,
            None => match self.leave(&lock.name, id).await? {
                Some(holder) => holder.token,
                None => return Ok(()),
            },
        };
        let next = self.release(&lock.name, token).await?;
        self.pass_on(&lock.name, next).await
    }

    pub(crate) async fn release(&self, name: &LockName, token: u64) -> Result<Option<Holder>, Error> {
        match self.lock_command(name, LockCommand::Release { token }).await? {
            LockAnswer::Released { next } => {
                self.wake_line(name).await;
                Ok(next)
            }
            _ => Ok(None),
        }
    }

    /// Takes an execution out of the line; answers its grant if it had become the holder.
    pub(crate) async fn leave(&self, name: &LockName, id: ExecutionId) -> Result<Option<Holder>, Error> {
        match self.lock_command(name, LockCommand::Leave { execution: id }).await? {
            LockAnswer::Holds(holder) => Ok(Some(holder)),
            LockAnswer::Left => {
                self.wake_line(name).await;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Everybody who waits has another place now, and their followers want to know; they look by themselves, too.
    pub(crate) async fn wake_line(&self, name: &LockName) {
        match self.inner.locks.show(name).await {
            Ok(lock) => lock.waiters.iter().for_each(|waiter| self.inner.changes.wake(waiter.execution)),
            Err(error) => {
                tracing::debug!(lock.name = %name, error = %super::error_chain(&error), "line not told");
            }
        }
    }

    pub(crate) async fn lock_command(
        &self,
        name: &LockName,
        command: LockCommand,
    ) -> Result<LockAnswer, Error> {
        let now = self.inner.clock.now();
        self.inner.locks.command(name, command, now).await.map_err(Error::store("the lock store"))
    }

    /// Where a QUEUED execution stands; `None` for every other.
    pub async fn waiting(&self, record: &Execution) -> Result<Option<Waiting>, Error> {
        let Some(lock) = record.lock.as_ref().filter(|_| record.status == Status::Queued) else {
            return Ok(None);
        };
        let lock = self.inner.locks.show(&lock.name).await.map_err(Error::store("the lock store"))?;
        Ok(Some(Waiting {
            position: lock.position(record.id).unwrap_or(0),
            holder: lock.holder.clone().filter(|holder| holder.execution != record.id),
        }))
    }

    /// Asks again whether somebody who waited may run what they asked for: they, the policies, or its image may have
    /// changed since.
    async fn decide_again(&self, record: &Execution) -> Result<Verdict, Error> {
        if record.status != Status::Queued {
            return Ok(Verdict::Allowed(None));
        }
        let store = Error::store("the key store");
        let user = self.inner.keys.user(&record.created_by).await.map_err(store)?;
        let now = self.inner.clock.now();
        let Some(user) = user.filter(|user| !user.revoked) else {
            return self.deny(record, None, "whoever asked for it is no longer known here").await;
        };
        if user.key_expires_at.is_some_and(|at| at <= now) {
            return self.deny(record, None, "the key of whoever asked for it has expired").await;
        }
        let request = match self.stored(record).await? {
            Stored::Fit(request) => request,
            Stored::Unfit(refusal) => return self.deny(record, None, &refusal.message).await,
            Stored::Gone => return Ok(Verdict::Allowed(None)),
        };
        let Some(lock) = &record.lock else { return Ok(Verdict::Allowed(None)) };
        let context = run_context(&record.command, &request, Some(&lock.name), now);
        let principal = Principal { user: &user.email, role: user.role };
        let run = std::iter::once((Action::Run, Resource::System));
        for (action, resource) in run.chain(what_a_run_uses(&context)) {
            let question = AuthzRequest { principal, action, resource, run: Some(context) };
            if let Decision::Deny { policy } = self.decide_for(question).await? {
                let why = denial(policy.as_ref(), action, &resource);
                return self.deny(record, policy.map(|policy| policy.to_string()), &why).await;
            }
        }
        Ok(Verdict::Allowed(Some(request)))
    }

    async fn deny(&self, record: &Execution, policy: Option<String>, why: &str) -> Result<Verdict, Error> {
        self.append(AuditEvent {
            at: self.inner.clock.now(),
            request_id: record.created_by_request_id,
            user: record.created_by.clone(),
            address: None,
            kind: AuditKind::Denied,
            action: Action::Run.to_string(),
            resource: Resource::Execution { id: record.id, owners: &[] }.to_string(),
            policy: policy.clone(),
            detail: Some(why.to_owned()),
        })
        .await?;
        Ok(Verdict::Denied { why: format!("its turn came, but {why}"), policy })
    }

    fn denied(&self, record: &Execution, why: String, policy: Option<String>) -> Patch {
        let lock = record.lock.clone().map(|lock| LockUse { denied_by: policy, ..lock });
        Patch { lock, ..self.ended(Reason::Denied, why) }
    }

    fn ended(&self, reason: Reason, detail: String) -> Patch {
        Patch {
            reason: Some(reason),
            detail: Some(detail),
            completed_at: Some(self.inner.clock.now()),
            ..Patch::to(Status::Failed)
        }
    }

    /// Ends a wait that has lasted too long.
    pub(crate) async fn give_up_waiting(&self, record: &Execution) -> Result<Execution, Error> {
        let lock = record.lock.as_ref();
        let (name, waited) = lock.map_or(("", 0), |lock| (lock.name.as_str(), lock.max_wait));
        let detail = format!(
            "waited {waited} s for the lock `{name}`, as long as it was to; give it longer with `--max-wait`"
        );
        let patch = self.ended(Reason::QueueTimeout, detail);
        self.finish(record.id, &[Status::Queued], &patch).await
    }
}

/// Whether an execution runs under this grant. One that lost its grant and was asked for again too late runs under
/// another, and has no use for this one.
fn keeps(record: &Execution, holder: &Holder) -> bool {
    let token = record.lock.as_ref().and_then(|lock| lock.token);
    !record.status.is_terminal() && token == Some(holder.token)
}

/// What policies may look at of a run.
pub(crate) fn run_context<'a>(
    command: &'a str,
    request: &'a StartRequest,
    lock: Option<&'a LockName>,
    now: Timestamp,
) -> RunContext<'a> {
    RunContext {
        command,
        image: request.asked.image.as_deref(),
        image_owners: &request.asked.image_owners,
        lock,
        secrets: &request.asked.secrets,
        git_repo: request.code.as_ref().and_then(Code::git).map(|git| git.repo.as_str()),
        address: request.asked.address,
        hour: hour(now),
    }
}

/// The hour of the day, in UTC.
pub(crate) fn hour(now: Timestamp) -> u8 {
    u8::try_from(now.as_second().rem_euclid(86_400) / 3600).unwrap_or(0)
}
