//! Asking what one may do, without doing it: the same questions as the real thing, and no trace of them.

use std::net::IpAddr;

use jiff::Timestamp;

use super::access::what_a_run_uses;
use super::{Caller, Error, Runvoy, locks};
use crate::api::AuthzCheck;
use crate::id::{Email, ExecutionId, LockName, SecretName};
use crate::images::find;
use crate::limits;
use crate::port::{Action, Decision, LoadedPolicies, Resource, ResourceKind, RunContext};
use crate::secrets::WantedSecret;

/// What somebody may do, and which policy says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanI {
    /// What decided: the action that was asked about, or what a run does beside it.
    pub action: Action,
    /// On what.
    pub resource: String,
    /// The decision.
    pub decision: Decision,
}

/// A resource as somebody names it; its owners are not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    System,
    Execution(ExecutionId),
    User(Email),
    Lock(LockName),
    Image(String),
    Secret(SecretName),
}

impl Target {
    fn parse(text: &str) -> Result<Self, Error> {
        if text == ResourceKind::System.form() {
            return Ok(Self::System);
        }
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        Ok(match kind {
            // A part of an id would tell which ids there are.
            "execution" => Self::Execution(name.parse().map_err(Error::parse("resource"))?),
            "user" => Self::User(name.parse().map_err(Error::parse("resource"))?),
            "lock" => Self::Lock(name.parse().map_err(Error::parse("resource"))?),
            "secret" => Self::Secret(name.parse().map_err(Error::parse("resource"))?),
            "image" if !name.is_empty() => Self::Image(name.to_owned()),
            _ => return Err(Error::invalid("resource", format!("is one of {}", forms()))),
        })
    }

    fn resource<'a>(&'a self, owners: &'a [Email]) -> Resource<'a> {
        match self {
            Self::System => Resource::System,
            Self::Execution(id) => Resource::Execution { id: *id, owners },
            Self::User(email) => Resource::User(email),
            Self::Lock(name) => Resource::Lock(name),
            Self::Image(name) => Resource::Image { name, owners },
            Self::Secret(name) => Resource::Secret { name, owners },
        }
    }
}

fn forms() -> String {
    ResourceKind::ALL.map(|kind| format!("`{}`", kind.form())).join(", ")
}

/// A question that is in order.
struct Question {
    action: Action,
    target: Target,
    /// What is to be run; `None` where only the action is asked about.
    run: Option<Run>,
}

/// What a [`RunContext`] borrows.
struct Run {
    command: String,
    image: Option<String>,
    image_owners: Vec<Email>,
    lock: Option<LockName>,
    secrets: Vec<WantedSecret>,
    git_repo: Option<String>,
    address: Option<IpAddr>,
    hour: u8,
}

impl Question {
    fn parse(asked: AuthzCheck, caller: &Caller, now: Timestamp) -> Result<Self, Error> {
        let action: Action = asked.action.parse().map_err(|_| {
            let known = Action::ALL.map(Action::as_str).join(", ");
            Error::invalid("action", format!("is one of {known}"))
        })?;
        let kind = action.acts_on();
        let text = asked.resource.as_deref().filter(|text| !text.is_empty());
        let target = Target::parse(text.unwrap_or(ResourceKind::System.form()))?;
        if ResourceKind::of(&target.resource(&[])) != kind {
            return Err(Error::invalid("resource", format!("{action} is done to `{}`", kind.form())));
        }
        let run = Run::parse(asked, action, &target, caller, now)?;
        Ok(Self { action, target, run })
    }
}

impl Run {
    fn parse(
        asked: AuthzCheck,
        action: Action,
        target: &Target,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Self>, Error> {
        let is_bare = asked.has_no_context();
        if !action.has_context() {
            let with: Vec<_> = Action::ALL.iter().filter(|action| action.has_context()).collect();
            let with = with.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("only {with} look at what is to be run, {action} does not");
            return if is_bare { Ok(None) } else { Err(Error::invalid("action", message)) };
        }
        if is_bare && action == Action::Run {
            return Ok(None);
        }
        let mut run = Self::read(asked, caller, now)?;
        // What a run uses is a part of it.
        match target {
            Target::Lock(name) => run.lock = Some(name.clone()),
            Target::Image(name) => run.image = Some(name.clone()),
            Target::Secret(name) if run.secrets.iter().all(|secret| secret.name != *name) => {
                run.secrets.push(WantedSecret::named(name.clone()));
            }
            _ => {}
        }
        Ok(Some(run))
    }

    fn read(asked: AuthzCheck, caller: &Caller, now: Timestamp) -> Result<Self, Error> {
        let command = asked.command.unwrap_or_default();
        if command.len() > limits::QUOTED_COMMAND_BYTES {
            let (most, these) = (limits::QUOTED_COMMAND_BYTES, command.len());
            return Err(Error::invalid("command", format!("at most {most} bytes, these are {these}")));
        }
        if asked.secrets.len() > limits::SECRETS {
            let (most, these) = (limits::SECRETS, asked.secrets.len());
            return Err(Error::invalid("secrets", format!("at most {most}, these are {these}")));
        }
        let hour = match asked.hour {
            None => locks::hour(now),
            Some(hour) => u8::try_from(hour)
                .ok()
                .filter(|hour| *hour < 24)
                .ok_or_else(|| Error::invalid("hour", format!("0 to 23, in UTC, this is {hour}")))?,
        };
        let address = match asked.address.as_deref() {
            None => caller.context.address,
            Some(text) => Some(text.parse().map_err(|_| Error::invalid("address", "is no IP address"))?),
        };
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let lock = text(asked.lock).map(|name| name.parse()).transpose().map_err(Error::parse("lock"))?;
        let secrets = asked.secrets.iter().map(|name| name.parse().map(WantedSecret::named));
        let secrets = secrets.collect::<Result<_, _>>();
        let secrets = secrets.map_err(Error::parse("secrets"))?;
        let (image, git_repo) = (text(asked.image), text(asked.git_repo));
        Ok(Self { command, image, image_owners: Vec::new(), lock, secrets, git_repo, address, hour })
    }

    fn context(&self) -> RunContext<'_> {
        RunContext {
            command: &self.command,
            image: self.image.as_deref(),
            image_owners: &self.image_owners,
            lock: self.lock.as_ref(),
            secrets: &self.secrets,
            git_repo: self.git_repo.as_deref(),
            address: self.address,
            hour: self.hour,
        }
    }
}

impl Runvoy {
    /// Whether the caller may do something, decided as the real thing would be. Nothing is done, and nothing recorded.
    ///
    /// Of an execution or a secret that the caller may neither see nor act upon the answer is the one for what does not
    /// exist: asking tells nobody which there are.
    pub async fn can_i(&self, caller: &Caller, asked: AuthzCheck) -> Result<CanI, Error> {
        let mut question = Question::parse(asked, caller, self.inner.clock.now())?;
        let mut owners = self.know_images(&mut question).await?;
        owners.extend(self.know_secrets(&mut question).await?);
        let run = question.run.as_ref().map(Run::context);
        match (&question.target, question.action) {
            (Target::Execution(id), action) => self.about_execution(caller, action, *id).await,
            (_, Action::Run) => self.about_run(caller, run).await,
            (Target::Secret(name), Action::CreateSecret) => {
                let decision = self.decide_creation(caller, name).await?;
                let resource = question.target.resource(&[]).to_string();
                Ok(CanI { action: Action::CreateSecret, resource, decision })
            }
            (target, action) => {
                let seen = self.as_seen(caller, action, target.resource(&owners), run).await?;
                self.ask(caller, action, seen, run).await
            }
        }
    }

    /// Puts what images are registered as in the place of what they are called, as a run does. The owners of the one
    /// that is asked about.
    async fn know_images(&self, question: &mut Question) -> Result<Vec<Email>, Error> {
        let images = self.known_images().await?;
        if let Some(run) = question.run.as_mut().filter(|_| self.inner.executor.capabilities().images) {
            let found = match run.image.as_deref() {
                Some(text) => find(&images, text),
                None => images.iter().find(|image| image.is_default && question.action == Action::Run),
            };
            if let Some(image) = found {
                (run.image, run.image_owners) = (Some(image.image.clone()), image.owned_by.clone());
            }
        }
        let Target::Image(name) = &mut question.target else { return Ok(Vec::new()) };
        let Some(image) = find(&images, name) else { return Ok(Vec::new()) };
        name.clone_from(&image.image);
        Ok(image.owned_by.clone())
    }

    /// Finds out whose the secrets are that a run names. The owners of the one that is asked about.
    async fn know_secrets(&self, question: &mut Question) -> Result<Vec<Email>, Error> {
        if let Some(run) = &mut question.run {
            self.look_up_secrets(&mut run.secrets).await?;
        }
        let Target::Secret(name) = &question.target else { return Ok(Vec::new()) };
        Ok(self.stored_secret(name).await?.map(|secret| secret.owned_by).unwrap_or_default())
    }

    /// What the authorizer decides by.
    pub async fn policies(&self, caller: &Caller) -> Result<LoadedPolicies, Error> {
        self.authorize(caller, Action::ReadPolicies, Resource::System, None).await?;
        Ok(self.inner.authorizer.policies())
    }

    async fn ask(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        run: Option<RunContext<'_>>,
    ) -> Result<CanI, Error> {
        let decision = self.decide(caller, action, resource, run).await?;
        Ok(CanI { action, resource: resource.to_string(), decision })
    }

    /// Everything that a run is asked about; the first denial decides.
    async fn about_run(&self, caller: &Caller, run: Option<RunContext<'_>>) -> Result<CanI, Error> {
        let bare = self.ask(caller, Action::Run, Resource::System, None).await?;
        let Some(context) = run.filter(|_| bare.is_allowed()) else { return Ok(bare) };
        let answer = self.ask(caller, Action::Run, Resource::System, run).await?;
        if answer.is_allowed() {
            for (action, resource) in what_a_run_uses(&context) {
                let seen = self.as_seen(caller, action, resource, run).await?;
                let used = self.ask(caller, action, seen, run).await?;
                if !used.is_allowed() {
                    return Ok(used);
                }
            }
        }
        Ok(answer)
    }

    async fn about_execution(&self, caller: &Caller, action: Action, id: ExecutionId) -> Result<CanI, Error> {
        let store = Error::store("the execution store");
        if let Some(record) = self.inner.executions.get(id).await.map_err(store)?
            && self.is_shown(caller, action, &record).await?
        {
            let resource = Resource::Execution { id, owners: &record.owned_by };
            return self.ask(caller, action, resource, None).await;
        }
        let answer = self.ask(caller, action, Resource::Execution { id, owners: &[] }, None).await?;
        if answer.is_allowed() { Err(Error::no_execution(id)) } else { Ok(answer) }
    }
}

impl CanI {
    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        matches!(self.decision, Decision::Allow { .. })
    }
}
