//! The engine's API: every call that is made of it, bounded in time.

use std::collections::HashMap;
use std::future::Future;
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
use futures_util::stream::{BoxStream, Stream, StreamExt as _};

use super::error::EngineError;

/// For what an engine answers from its memory.
const QUICK: Duration = Duration::from_secs(15);
/// For what makes it work: under load a start takes seconds.
const SLOW: Duration = Duration::from_mins(2);

/// Where an engine listens unless somebody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A connection to one engine.
#[derive(Clone)]
pub(super) struct Engine {
    docker: Docker,
    host: String,
}

/// Whether a container's processes may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was made, and not started as far as the engine knows.
    Created,
    /// It runs, or is about to.
    Running,
    /// It does not run, and never will again by itself.
    Over,
}

type Answer<T> = Result<T, EngineError>;

impl Engine {
    /// Finds the engine at `unix://…` or `tcp://…`, and agrees with it on a version of its API.
    pub(super) async fn connect(host: &str) -> Answer<Self> {
        let seconds = SLOW.as_secs();
        let docker = if host.starts_with("unix://") {
            Docker::connect_with_unix(host, seconds, API_DEFAULT_VERSION)
        } else if host.starts_with("tcp://") || host.starts_with("http://") {
            Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION)
        } else {
            return Err(EngineError::Address(host.to_owned()));
        };
        let docker = docker.map_err(|error| EngineError::new(host, error))?;
        let docker = within(host, QUICK, docker.negotiate_version()).await?;
        Ok(Self { docker, host: host.to_owned() })
    }

    /// Where it listens.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) async fn ping(&self) -> Answer<()> {
        within(&self.host, QUICK, self.docker.ping()).await.map(drop)
    }

    pub(super) async fn info(&self) -> Answer<SystemInfo> {
        within(&self.host, QUICK, self.docker.info()).await
    }

    /// An image that it has.
    pub(super) async fn image(&self, reference: &str) -> Answer<Option<ImageInspect>> {
        found(within(&self.host, QUICK, self.docker.inspect_image(reference)).await)
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
        self.told(self.docker.create_image(Some(options), None, None))
    }

    /// Makes an image out of an archive of its files.
    pub(super) async fn import(&self, archive: Bytes, name: &str) -> Answer<()> {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name.to_owned()),
            ..CreateImageOptions::default()
        };
        let body = bollard::body_full(archive);
        let mut told = self.told(self.docker.create_image(Some(options), Some(body), None));
        while let Some(told) = told.next().await {
            told?;
        }
        Ok(())
    }

    pub(super) async fn remove_image(&self, name: &str) -> Answer<()> {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        found(within(&self.host, QUICK, self.docker.remove_image(name, Some(options), None)).await).map(drop)
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
        within(&self.host, SLOW, self.docker.create_container(Some(options), body)).await.map(|made| made.id)
    }

    /// Starts a container; one that runs already is no error.
    pub(super) async fn start(&self, name: &str) -> Answer<()> {
        match within(&self.host, SLOW, self.docker.start_container(name, None)).await {
            Err(EngineError::Said { status: 304, .. }) => Ok(()),
            other => other,
        }
    }

    /// Kills and removes a container with what is its own; one that is not there is no error.
    pub(super) async fn remove(&self, name: &str) -> Answer<()> {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        match found(within(&self.host, SLOW, self.docker.remove_container(name, Some(options))).await) {
            // Somebody else is at it.
            Err(EngineError::Said { status: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Signals a container's first process; one that does not run is no error.
    pub(super) async fn kill(&self, name: &str, signal: &str) -> Answer<()> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match found(within(&self.host, QUICK, self.docker.kill_container(name, Some(options))).await) {
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
        let inspected = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        let Some(container) = found(within(&self.host, QUICK, inspected).await)? else { return Ok(None) };
        let life = match container.state.and_then(|state| state.status) {
            Some(ContainerStateStatusEnum::CREATED) => Life::Created,
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING,
            ) => Life::Over,
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
        within(&self.host, QUICK, self.docker.list_containers(Some(options))).await
    }

    /// Ends of containers with a label, from now on.
    pub(super) fn deaths(&self, label: String) -> BoxStream<'static, Answer<EventMessage>> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["die".to_owned(), "destroy".to_owned()]),
            ("label".to_owned(), vec![label]),
        ]);
        self.told(
            self.docker.events(Some(EventsOptions { filters: Some(filters), ..EventsOptions::default() })),
        )
    }

    fn told<T: 'static>(
        &self,
        stream: impl Stream<Item = Result<T, bollard::errors::Error>> + Send + 'static,
    ) -> BoxStream<'static, Answer<T>> {
        let host = self.host.clone();
        stream.map(move |told| told.map_err(|error| EngineError::new(&host, error))).boxed()
    }
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
