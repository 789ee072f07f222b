//! What runs commands on this machine: chosen once, when a server starts.

use std::path::Path;
use std::sync::Arc;

use runvoy_core::clock::SystemClock;
use runvoy_core::port::{Executor, ExecutorError};

#[cfg(feature = "docker")]
use crate::both::Both;
use crate::data_dir::DataDir;
#[cfg(feature = "docker")]
use crate::docker::{DockerConfig, DockerExecutor};
use crate::local::LocalConfig;
use crate::process::{ProcessConfig, ProcessExecutor};

/// What the front-end asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecutorChoice {
    /// Containers where an engine answers that sees our files, or did so before; else processes.
    #[default]
    Auto,
    /// Containers, or nothing.
    Docker,
    /// Processes.
    Process,
}

/// What it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Each command in a container of its own.
    Containers {
        /// Why none is made yet: the engine is away.
        away: Option<String>,
    },
    /// Commands as processes of this machine.
    Processes {
        /// Why not in containers, where those were tried.
        instead: Option<String>,
    },
}

impl Sandbox {
    /// Whether commands are kept apart from the server, in images.
    pub fn is_containers(&self) -> bool {
        matches!(self, Self::Containers { .. })
    }
}

type Chosen = (Arc<dyn Executor>, Sandbox);

/// Makes the executor. The error is in words.
pub(crate) async fn choose(dir: &DataDir, config: &LocalConfig) -> Result<Chosen, ExecutorError> {
    let root = &dir.executions();
    let plain = |instead| {
        let executor = processes(dir, config)?;
        Ok((Arc::new(executor) as Arc<dyn Executor>, Sandbox::Processes { instead }))
    };
    // A user to run as is a matter of processes.
    let choice = if config.run_as.is_some() && config.executor == ExecutorChoice::Auto {
        ExecutorChoice::Process
    } else {
        config.executor
    };
    match choice {
        ExecutorChoice::Process => plain(None),
        ExecutorChoice::Docker => containers(dir, config).await,
        ExecutorChoice::Auto => match containers(dir, config).await {
            Ok(chosen) => Ok(chosen),
            // What was accepted for containers is not to run beside the server because an engine is late.
            Err(error @ ExecutorError::Unavailable { .. }) if had_containers(root)? => {
                containers_later(dir, config, in_words(&error))
            }
            Err(error) => plain(Some(in_words(&error))),
        },
    }
}

fn processes(dir: &DataDir, config: &LocalConfig) -> Result<ProcessExecutor, ExecutorError> {
    let process = ProcessConfig {
        base_env: config.base_env.clone(),
        run_as: config.run_as.clone(),
        max_processes: config.max_processes,
        network: config.network.clone(),
        code: Some(dir.code()),
        ..ProcessConfig::new(dir.executions(), &config.agent)
    };
    ProcessExecutor::new(process, Arc::new(SystemClock))
}

#[cfg(feature = "docker")]
async fn containers(dir: &DataDir, config: &LocalConfig) -> Result<Chosen, ExecutorError> {
    let docker = DockerExecutor::connect(docker(dir, config)?, Arc::new(SystemClock)).await?;
    Ok((
        Arc::new(Both::new(docker, processes(dir, config)?, &dir.executions())),
        Sandbox::Containers { away: None },
    ))
}

#[cfg(feature = "docker")]
fn containers_later(dir: &DataDir, config: &LocalConfig, away: String) -> Result<Chosen, ExecutorError> {
    let docker = DockerExecutor::connect_later(docker(dir, config)?, Arc::new(SystemClock))?;
    Ok((
        Arc::new(Both::new(docker, processes(dir, config)?, &dir.executions())),
        Sandbox::Containers { away: Some(away) },
    ))
}

#[cfg(feature = "docker")]
fn had_containers(root: &Path) -> Result<bool, ExecutorError> {
    crate::docker::was_used(root).map_err(ExecutorError::unavailable)
}

#[cfg(feature = "docker")]
fn docker(dir: &DataDir, config: &LocalConfig) -> Result<DockerConfig, ExecutorError> {
    if config.run_as.is_some() {
        let message = "a container's user is its image's; a user to run as is for processes only";
        return Err(ExecutorError::refused(message));
    }
    let plain = DockerConfig::new(dir.executions(), &config.agent);
    Ok(DockerConfig {
        host: config.docker_host.clone().unwrap_or_else(|| plain.host.clone()),
        max_processes: config.max_processes.or(plain.max_processes),
        network: config.network.clone(),
        code: Some(dir.code()),
        ..plain
    })
}

#[cfg(not(feature = "docker"))]
#[expect(clippy::unused_async, reason = "the other one has to wait")]
async fn containers(_: &DataDir, _: &LocalConfig) -> Result<Chosen, ExecutorError> {
    Err(no_containers())
}

#[cfg(not(feature = "docker"))]
fn containers_later(_: &DataDir, _: &LocalConfig, _: String) -> Result<Chosen, ExecutorError> {
    Err(no_containers())
}

#[cfg(not(feature = "docker"))]
#[expect(clippy::unnecessary_wraps, reason = "the other one reads a directory")]
fn had_containers(_: &Path) -> Result<bool, ExecutorError> {
    Ok(false)
}

#[cfg(not(feature = "docker"))]
fn no_containers() -> ExecutorError {
    ExecutorError::refused("this build of Runvoy runs no containers")
}

/// The sentence of the nearest cause: what is not available says so by its source.
fn in_words(error: &ExecutorError) -> String {
    match error {
        ExecutorError::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
