//! The engine's API: every call that is made of it, bounded in time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, ContainerSummary, CreateImageInfo, EventMessage,
    ImageInspect, SystemInfo,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, EventsOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, RemoveContainerOptions, RemoveImageOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures_util::future::TryFutureExt as _;
use futures_util::stream::{BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::error::EngineError;

/// For what an engine answers from its memory.
const QUICK: Duration = Duration::from_secs(15);
/// For what makes it work: under load a start takes seconds.
const SLOW: Duration = Duration::from_mins(2);

/// Where an engine listens unless somebody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The way to one engine.
#[derive(Clone)]
pub(super) struct Engine {
    /// In a language that both know, once the engine has said which it knows.
    agreed: Arc<OnceCell<Docker>>,
    host: String,
}

/// Whether a container's processes may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was made, and not started as far as the engine knows.
    Created,
    /// It runs, or is about to.
    Running,
    /// It does not run, and never will again by itself. With what it exited with, where the engine says so.
    Over(Option<i64>),
}

/// What an engine says of a container that ended while it was away itself and could not tell how.
const UNKNOWN_EXIT: i64 = 255;

type Answer<T> = Result<T, EngineError>;

impl Engine {
    /// The engine at `unix://…` or `tcp://…`, whether it answers or not.
    pub(super) fn new(host: &str) -> Answer<Self> {
        if !["unix://", "tcp://"].iter().any(|scheme| host.starts_with(scheme)) {
            return Err(EngineError::Address(host.to_owned()));
        }
        Ok(Self { agreed: Arc::default(), host: host.to_owned() })
    }

    /// Finds it, and agrees with it on a version of its API, unless that is done.
    async fn docker(&self) -> Answer<&Docker> {
        let agree = || async {
            let seconds = SLOW.as_secs();
            let docker = if self.host.starts_with("unix://") {
                Docker::connect_with_unix(&self.host, seconds, API_DEFAULT_VERSION)
            } else {
                Docker::connect_with_http(&self.host, seconds, API_DEFAULT_VERSION)
            };
            let docker = docker.map_err(|error| EngineError::new(&self.host, error))?;
            within(&self.host, QUICK, docker.negotiate_version()).await
        };
        self.agreed.get_or_try_init(agree).await
    }

    /// Where it listens.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) async fn ping(&self) -> Answer<()> {
        within(&self.host, QUICK, self.docker().await?.ping()).await.map(drop)
    }

    pub(super) async fn info(&self) -> Answer<SystemInfo> {
        within(&self.host, QUICK, self.docker().await?.info()).await
    }

    /// An image that it has.
    pub(super) async fn image(&self, reference: &str) -> Answer<Option<ImageInspect>> {
        found(within(&self.host, QUICK, self.docker().await?.inspect_image(reference)).await)
    }

    /// Fetches an image; the stream tells how far it is, and fails where the fetching does.
    pub(super) fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> BoxStream<'static, Answer<CreateImageInfo>> {
        let options = CreateImageOptions {
            from_image: Some(reference.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        self.told(move |docker| docker.create_image(Some(options), None, None))
    }

    /// Makes an image out of an archive of its files.
    pub(super) async fn import(&self, archive: Bytes, name: &str) -> Answer<()> {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name.to_owned()),
            ..CreateImageOptions::default()
        };
        let body = bollard::body_full(archive);
        let mut told = self.told(move |docker| docker.create_image(Some(options), Some(body), None));
        while let Some(told) = told.next().await {
            told?;
        }
        Ok(())
    }

    pub(super) async fn remove_image(&self, name: &str) -> Answer<()> {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        found(within(&self.host, QUICK, self.docker().await?.remove_image(name, Some(options), None)).await)
            .map(drop)
    }

    /// Makes a container. What the engine calls it.
    pub(super) async fn create(
        &self,
        name: &str,
        platform: Option<&str>,
        body: ContainerCreateBody,
    ) -> Answer<String> {
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
        };
        let made = within(&self.host, SLOW, self.docker().await?.create_container(Some(options), body)).await;
        made.map(|made| made.id)
    }

    /// Starts a container; one that runs already is no error.
    pub(super) async fn start(&self, name: &str) -> Answer<()> {
        match within(&self.host, SLOW, self.docker().await?.start_container(name, None)).await {
            Err(EngineError::Said { status: 304, .. }) => Ok(()),
            other => other,
        }
    }

    /// Kills and removes a container with what is its own; one that is not there is no error.
    pub(super) async fn remove(&self, name: &str) -> Answer<()> {
        self.remove_with(name, true).await
    }

    /// Removes a container that does not run, with what is its own; one that runs, or is not there, is no error.
    pub(super) async fn remove_dead(&self, name: &str) -> Answer<()> {
        self.remove_with(name, false).await
    }

    async fn remove_with(&self, name: &str, force: bool) -> Answer<()> {
        let options = RemoveContainerOptions { force, v: true, ..RemoveContainerOptions::default() };
        match found(
            within(&self.host, SLOW, self.docker().await?.remove_container(name, Some(options))).await,
        ) {
            // Somebody else is at it, or it runs.
            Err(EngineError::Said { status: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Signals a container's first process; one that does not run is no error.
    pub(super) async fn kill(&self, name: &str, signal: &str) -> Answer<()> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match found(within(&self.host, QUICK, self.docker().await?.kill_container(name, Some(options))).await)
        {
            Err(EngineError::Said { status: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether a container lives; `None` where there is none of that name.
    pub(super) async fn life(&self, name: &str) -> Answer<Option<Life>> {
        Ok(self.container(name).await?.map(|(_, life)| life))
    }

    /// What the engine calls a container, and whether it lives; `None` where there is none of that name.
    pub(super) async fn container(&self, name: &str) -> Answer<Option<(String, Life)>> {
        let inspected = self.docker().await?.inspect_container(name, None::<InspectContainerOptions>);
        let Some(container) = found(within(&self.host, QUICK, inspected).await)? else { return Ok(None) };
        let state = container.state.unwrap_or_default();
        let life = match state.status {
            Some(ContainerStateStatusEnum::CREATED) => Life::Created,
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING,
            ) => Life::Over(state.exit_code.filter(|code| *code != UNKNOWN_EXIT)),
            _ => Life::Running,
        };
        Ok(Some((container.id.unwrap_or_default(), life)))
    }

    /// All containers with a label, whatever became of them.
    pub(super) async fn list(&self, label: String) -> Answer<Vec<ContainerSummary>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        within(&self.host, QUICK, self.docker().await?.list_containers(Some(options))).await
    }

    /// Ends of containers with a label, since a time of the engine's own clock.
    pub(super) fn deaths(
        &self,
        label: String,
        since: Option<String>,
    ) -> BoxStream<'static, Answer<EventMessage>> {
        self.events(label, since, None)
    }

    /// Ends of containers with a label until a time of the engine's own clock, as far as it remembers: it keeps a few hundred
    /// events of all kinds.
    pub(super) async fn past_deaths(
        &self,
        label: String,
        until: Option<String>,
    ) -> Answer<Vec<EventMessage>> {
        let all = self.events(label, Some("1".to_owned()), until).try_collect();
        let late = |_| Err(EngineError::new(&self.host, bollard::errors::Error::RequestTimeoutError));
        tokio::time::timeout(QUICK, all).await.unwrap_or_else(late)
    }

    fn events(
        &self,
        label: String,
        since: Option<String>,
        until: Option<String>,
    ) -> BoxStream<'static, Answer<EventMessage>> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["die".to_owned(), "destroy".to_owned()]),
            ("label".to_owned(), vec![label]),
        ]);
        let options = EventsOptions { since, until, filters: Some(filters) };
        self.told(move |docker| docker.events(Some(options)))
    }

    fn told<T: 'static, S>(
        &self,
        ask: impl FnOnce(&Docker) -> S + Send + 'static,
    ) -> BoxStream<'static, Answer<T>>
    where
        S: Stream<Item = Result<T, bollard::errors::Error>> + Send + 'static,
    {
        let engine = self.clone();
        let asked = async move {
            let told = ask(engine.docker().await?);
            Ok(told.map_err(move |error| EngineError::new(&engine.host, error)))
        };
        asked.try_flatten_stream().boxed()
    }
}

/// The time that an engine told, as it wants to be asked for events: seconds and nanoseconds since 1970.
pub(super) fn event_time(info: &SystemInfo) -> Option<String> {
    let time: Timestamp = info.system_time.as_ref()?.parse().ok()?;
    Some(format!("{}.{:09}", time.as_second(), time.subsec_nanosecond()))
}

/// Tells engines apart, also two of one machine: those have one id, and a directory each.
pub(super) fn identity(info: &SystemInfo) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{} {}", part(&info.id), part(&info.docker_root_dir))
}

async fn within<T>(
    host: &str,
    time: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Answer<T> {
    match tokio::time::timeout(time, call).await {
        Ok(answer) => answer.map_err(|error| EngineError::new(host, error)),
        Err(_) => Err(EngineError::new(host, bollard::errors::Error::RequestTimeoutError)),
    }
}

/// Tells "there is none" from failures.
fn found<T>(answer: Answer<T>) -> Answer<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::Said { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
