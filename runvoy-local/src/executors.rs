//! What runs commands on this machine: chosen once, when a server starts.

use std::sync::Arc;

use runvoy_core::clock::SystemClock;
use runvoy_core::port::{Executor, ExecutorError, Refused};

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
    /// Containers where an engine answers that sees our files, else processes.
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
    Containers,
    /// Commands as processes of this machine.
    Processes {
        /// Why not in containers, where those were tried.
        instead: Option<String>,
    },
}

/// Makes the executor. The error is in words.
pub(crate) async fn choose(
    dir: &DataDir,
    config: &LocalConfig,
) -> Result<(Arc<dyn Executor>, Sandbox), ExecutorError> {
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
async fn containers(
    dir: &DataDir,
    config: &LocalConfig,
) -> Result<(Arc<dyn Executor>, Sandbox), ExecutorError> {
    if config.run_as.is_some() {
        let message = "a container's user is its image's; a user to run as is for processes only".to_owned();
        return Err(ExecutorError::Refused { of: Refused::Start, message, source: None });
    }
    let plain = DockerConfig::new(dir.executions(), &config.agent);
    let docker = DockerConfig {
        host: config.docker_host.clone().unwrap_or_else(|| plain.host.clone()),
        max_processes: config.max_processes.or(plain.max_processes),
        network: config.network.clone(),
        code: Some(dir.code()),
        ..plain
    };
    let docker = DockerExecutor::connect(docker, Arc::new(SystemClock)).await?;
    Ok((Arc::new(Both::new(docker, processes(dir, config)?, &dir.executions())), Sandbox::Containers))
}

#[cfg(not(feature = "docker"))]
#[expect(clippy::unused_async, reason = "the other one has to wait")]
async fn containers(_: &DataDir, _: &LocalConfig) -> Result<(Arc<dyn Executor>, Sandbox), ExecutorError> {
    let message = "this build of Runvoy runs no containers".to_owned();
    Err(ExecutorError::Refused { of: Refused::Start, message, source: None })
}

/// The sentence of the nearest cause: what is not available says so by its source.
fn in_words(error: &ExecutorError) -> String {
    match error {
        ExecutorError::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
