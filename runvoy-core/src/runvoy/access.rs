//! The one place where a request is authenticated and authorised.

use std::net::IpAddr;

use jiff::Timestamp;

use super::standing::Standing;
use super::{Error, Runvoy, Unauthenticated, secrets};
use crate::id::{Email, RequestId, Role};
use crate::key::{ApiKey, HashedKey};
use crate::port::{
    Action, AuditEvent, AuditKind, AuthzRequest, Decision, PolicyId, Principal, Resource, RunContext, User,
};
use crate::secrets::WantedSecret;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// Its id, as the answer names it.
    pub request_id: RequestId,
    /// The sender's address, where it is known.
    pub address: Option<IpAddr>,
}

impl RequestContext {
    /// A request of this process itself.
    pub fn internal() -> Self {
        Self { request_id: RequestId::random(), address: None }
    }
}

/// Somebody whose key was found good: only [`Runvoy::authenticate`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(crate) user: Email,
    pub(crate) role: Role,
    pub(crate) key_expires_at: Option<Timestamp>,
    pub(crate) context: RequestContext,
    pub(crate) standing: Standing,
}

impl Caller {
    /// Who.
    pub fn user(&self) -> &Email {
        &self.user
    }

    /// What they may do, by default.
    pub fn role(&self) -> Role {
        self.role
    }

    /// When their key expires, if it does.
    pub fn key_expires_at(&self) -> Option<Timestamp> {
        self.key_expires_at
    }

    /// Their request.
    pub fn context(&self) -> &RequestContext {
        &self.context
    }
}

/// A decision that allowed something, to be recorded before its effect.
pub(crate) struct Granted {
    event: AuditEvent,
}

impl Granted {
    /// What is to be recorded.
    pub(crate) fn event(&self) -> &AuditEvent {
        &self.event
    }

    /// What is to be recorded, with the resource that it came to be about where that was not known before.
    pub(crate) fn about(self, resource: Option<String>, detail: Option<&str>) -> AuditEvent {
        let mut event = self.event;
        event.detail = detail.map(excerpt);
        if let Some(resource) = resource {
            event.resource = resource;
        }
        event
    }
}

/// The decisions that allowed a run, each to be recorded before it begins.
pub(crate) struct RunGranted {
    /// That it runs.
    pub(crate) run: Granted,
    /// That it gets these secrets.
    pub(crate) secrets: Vec<Granted>,
}

impl Runvoy {
    /// Lets a request in, or says when: to be asked once, before anything else is done for it.
    pub fn let_in(&self, context: &RequestContext) -> Result<(), Error> {
        self.inner.rates.admit(context.address)
    }

    /// Finds out who sent a request. A store that does not answer is an error of its own, never "unknown".
    pub async fn authenticate(&self, key: Option<&str>, context: RequestContext) -> Result<Caller, Error> {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(Error::Unauthenticated(Unauthenticated::Missing));
        };
        let key = ApiKey::parse(key).ok().map(|key| key.hash());
        let (rates, address) = (&self.inner.rates, context.address);
        rates.may_try(key.as_ref(), address)?;
        let found = match key {
            None => Err(Error::Unauthenticated(Unauthenticated::Unknown)),
            Some(key) => self.look_up(key).await,
        };
        if matches!(found, Err(Error::Unauthenticated(Unauthenticated::Unknown))) {
            rates.failed(address);
        }
        self.let_in_with_key(found?, context)
    }

    /// Who has the key of this hash, which is good.
    pub(crate) async fn caller(&self, key: HashedKey, context: RequestContext) -> Result<Caller, Error> {
        self.let_in_with_key(self.look_up(key).await?, context)
    }

    fn let_in_with_key(
        &self,
        (user, standing): (User, Standing),
        context: RequestContext,
    ) -> Result<Caller, Error> {
        self.inner.rates.admit_key(standing.key, context.address)?;
        self.inner.uses.saw(&user.email, self.inner.clock.now());
        let User { email, role, key_expires_at, .. } = user;
        Ok(Caller { user: email, role, key_expires_at, context, standing })
    }

    /// Asks the authorizer; a denial is recorded and is an error. So is a key that is worthless by now: who reads page by
    /// page is asked for a decision with each.
    pub(crate) async fn authorize(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        run: Option<RunContext<'_>>,
    ) -> Result<Granted, Error> {
        self.authorize_named(caller, (action, resource), run, None).await
    }

    /// As [`authorize`](Self::authorize), where a denial names something else than what was asked about: somebody who
    /// only stands for others.
    pub(crate) async fn authorize_named(
        &self,
        caller: &Caller,
        (action, resource): (Action, Resource<'_>),
        run: Option<RunContext<'_>>,
        named: Option<&str>,
    ) -> Result<Granted, Error> {
        self.confirm(&mut caller.standing.clone()).await?;
        match self.decide(caller, action, resource, run).await? {
            Decision::Allow { policy } => {
                let about = (action, resource);
                Ok(Granted { event: self.event(caller, AuditKind::Allowed, about, policy.as_ref()) })
            }
            Decision::Deny { policy } => {
                let mut event = self.event(caller, AuditKind::Denied, (action, resource), policy.as_ref());
                event.detail = run.map(|run| excerpt(run.command));
                let resource = named.map_or_else(|| resource.to_string(), str::to_owned);
                event.resource.clone_from(&resource);
                self.append(event).await?;
                Err(Error::Denied { action, resource, policy, by_content: run.is_some() })
            }
        }
    }

    /// Asks the authorizer about a run whose content is known, and about all that it uses.
    pub(crate) async fn authorize_run(
        &self,
        caller: &Caller,
        context: RunContext<'_>,
    ) -> Result<RunGranted, Error> {
        let run = self.authorize(caller, Action::Run, Resource::System, Some(context)).await?;
        let mut secrets = Vec::new();
        for (action, resource) in what_a_run_uses(&context) {
            let seen = self.as_seen(caller, action, resource, Some(context)).await?;
            let granted = self.authorize(caller, action, seen, Some(context)).await?;
            match seen {
                Resource::Secret { name, owners: [] } => {
                    let wanted = context.secrets.iter().find(|wanted| wanted.name == *name);
                    let is_variable = wanted.is_none_or(|wanted| wanted.is_variable);
                    return Err(secrets::unknown_to_run(name, is_variable));
                }
                Resource::Secret { .. } => secrets.push(granted),
                _ => {}
            }
        }
        Ok(RunGranted { run, secrets })
    }

    /// Whether somebody may do something. Records nothing.
    pub(crate) async fn may(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        run: Option<RunContext<'_>>,
    ) -> Result<bool, Error> {
        let decision = self.decide(caller, action, resource, run).await?;
        Ok(matches!(decision, Decision::Allow { .. }))
    }

    /// What is decided about somebody's request. Records nothing.
    pub(crate) async fn decide(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        run: Option<RunContext<'_>>,
    ) -> Result<Decision, Error> {
        let principal = Principal { user: &caller.user, role: caller.role };
        self.decide_for(AuthzRequest { principal, action, resource, run }).await
    }

    /// The one question to the authorizer, also about whoever sends no request now. Records nothing.
    pub(crate) async fn decide_for(&self, request: AuthzRequest<'_>) -> Result<Decision, Error> {
        Ok(self.inner.authorizer.authorize(&request).await?)
    }

    /// Records a decision, with the resource it came to be about where that was not known before.
    pub(crate) async fn record(
        &self,
        granted: Granted,
        resource: Option<String>,
        detail: Option<&str>,
    ) -> Result<(), Error> {
        self.append(granted.about(resource, detail)).await
    }

    pub(crate) async fn append(&self, event: AuditEvent) -> Result<(), Error> {
        self.inner.audit.append(event).await.map_err(Error::store("the audit log"))?;
        Ok(())
    }

    pub(crate) fn event(
        &self,
        caller: &Caller,
        kind: AuditKind,
        (action, resource): (Action, Resource<'_>),
        policy: Option<&PolicyId>,
    ) -> AuditEvent {
        AuditEvent {
            at: self.inner.clock.now(),
            request_id: caller.context.request_id,
            user: caller.user.clone(),
            address: caller.context.address,
            kind,
            action: action.to_string(),
            resource: resource.to_string(),
            policy: policy.map(ToString::to_string),
            detail: None,
        }
    }
}

/// What a run is asked about beside the run itself, in this order.
pub(crate) fn what_a_run_uses<'a>(context: &RunContext<'a>) -> impl Iterator<Item = (Action, Resource<'a>)> {
    let owners = context.image_owners;
    let image = context.image.map(|name| (Action::UseImage, Resource::Image { name, owners }));
    let secret = |secret: &'a WantedSecret| {
        (Action::UseSecret, Resource::Secret { name: &secret.name, owners: &secret.owners })
    };
    let lock = context.lock.map(|name| (Action::UseLock, Resource::Lock(name)));
    image.into_iter().chain(context.secrets.iter().map(secret)).chain(lock)
}

/// The beginning of a command: the record of its execution has the whole of it.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 500;
    match text.char_indices().nth(CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
