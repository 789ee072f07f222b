//! What a task's container is, and what its agent is told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
};
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Refusal, Refused, StartTask, TaskWorkspace};
use runvoy_task::{GitWorkspace, Isolation, TaskSpec, UploadWorkspace, Workspace};

use super::image::Image;
use super::{Shared, refusal::Trouble};
use crate::task_dir::millis;

/// Where the agent is in every container.
pub(super) const AGENT: &str = "/.runvoy/agent";
/// Where the execution's directory is.
pub(super) const TASK: &str = "/.runvoy/task";
/// Where uploaded code is.
const CODE: &str = "/.runvoy/code";
/// Where a workspace is made.
const WORKSPACE: &str = "/workspace";

/// The label that carries the execution.
pub(super) const LABEL_EXECUTION: &str = "runvoy.execution";
/// The label that carries who asked for it.
const LABEL_USER: &str = "runvoy.user";
/// The label that says whose containers these are: the directory of all executions.
const LABEL_DATA: &str = "runvoy.data";

/// What an engine waits beyond the grace when it shuts down itself.
const PATIENCE: u64 = 2;

/// An execution has one container at most: its name is the engine's own guard.
pub(super) fn name(id: ExecutionId) -> String {
    format!("runvoy-{id}")
}

/// The label of all containers of a server.
pub(super) fn label(root: &Path) -> String {
    format!("{LABEL_DATA}={}", root.display())
}

/// The host name that the command sees.
fn hostname(id: ExecutionId) -> String {
    id.to_string().chars().take(12).collect()
}

/// The container of a task. Nothing of the command is in it: an engine shows what it was told to everybody.
pub(super) fn body(shared: &Shared, task: &StartTask, image: &Image, dir: &Path) -> ContainerCreateBody {
    let wants = &task.request.container;
    let labels = HashMap::from([
        (LABEL_EXECUTION.to_owned(), task.id.to_string()),
        (LABEL_USER.to_owned(), task.user.to_string()),
        (LABEL_DATA.to_owned(), shared.root.display().to_string()),
    ]);
    let memory = wants.memory.and_then(|mib| i64::try_from(mib.saturating_mul(1024 * 1024)).ok());
    ContainerCreateBody {
        hostname: Some(hostname(task.id)),
        // The agent's: the command's is in the spec.
        user: Some("0:0".to_owned()),
        image: Some(image.id.clone()),
        entrypoint: Some(vec![AGENT.to_owned()]),
        cmd: Some(vec!["contain".to_owned(), TASK.to_owned()]),
        working_dir: Some(image.workdir.display().to_string()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(labels),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: i64::try_from(task.request.grace.as_secs() + PATIENCE).ok(),
        host_config: Some(HostConfig {
            mounts: Some(mounts(shared, task, dir)),
            memory,
            // No swap on top: a limit is a limit.
            memory_swap: memory,
            nano_cpus: wants
                .cpu
                .and_then(|units| i64::try_from(units.saturating_mul(1_000_000_000) / 1024).ok()),
            auto_remove: Some(shared.leaves_removal_to_engine()),
            pids_limit: shared.max_processes.and_then(|most| i64::try_from(most).ok()),
            readonly_rootfs: Some(wants.read_only),
            network_mode: wants.network.clone(),
            ..host()
        }),
        ..ContainerCreateBody::default()
    }
}

/// What all of our containers have in common.
pub(super) fn host() -> HostConfig {
    HostConfig {
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    }
}

fn mounts(shared: &Shared, task: &StartTask, dir: &Path) -> Vec<Mount> {
    let mut mounts = vec![bind(&shared.agent, AGENT, true), bind(dir, TASK, false)];
    if let Some(workspace) = &task.workspace {
        // A volume of its own, which goes with the container: room that no read-only image takes away, without what the
        // image has in that place.
        mounts.push(Mount {
            target: Some(WORKSPACE.to_owned()),
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        });
        if let (TaskWorkspace::Upload { sha256, .. }, Some(code)) = (workspace, &shared.code) {
            mounts.push(bind(&code.join(sha256), CODE, true));
        }
    }
    mounts
}

/// A file or directory of this machine; one that the engine does not find is an error, not made.
pub(super) fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// What the agent is told: the image's own settings, and over them what the run asks for.
pub(super) fn spec(shared: &Shared, task: &StartTask, image: &Image) -> Result<TaskSpec, Trouble> {
    let request = &task.request;
    let mut env = image.env.clone();
    env.insert("HOSTNAME".to_owned(), hostname(task.id));
    env.insert("CI".to_owned(), "true".to_owned());
    env.extend(task.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    env.extend(request.env.clone());
    env.extend(task.reserved_env.clone());
    let workspace = task.workspace.as_ref().map(|wanted| workspace(shared, wanted)).transpose()?;
    let signal = request.stop_signal.as_ref().or(request.container.stop_signal.as_ref());
    let signal = signal.map(|signal| signal.as_str().to_owned());
    Ok(TaskSpec {
        version: TaskSpec::VERSION,
        execution_id: task.id.to_string(),
        command: request.command.clone(),
        env,
        dotenv: request.env.keys().cloned().collect(),
        workdir: if workspace.is_some() { PathBuf::from(WORKSPACE) } else { image.workdir.clone() },
        workspace,
        workspace_timeout_ms: TaskSpec::WORKSPACE_TIMEOUT_MS,
        run_as: None,
        user: Some(request.container.user.clone().unwrap_or_else(|| image.user.clone())),
        timeout_ms: millis(request.timeout),
        grace_ms: millis(request.grace),
        stop_signal: signal.or_else(|| image.stop_signal.clone()).unwrap_or_else(|| "TERM".to_owned()),
        mask: task.mask.clone(),
        log_limit: task.log_limit,
        segment_bytes: shared.segment_bytes,
        max_processes: None,
        isolation: Isolation::Auto,
    })
}

fn workspace(shared: &Shared, wanted: &TaskWorkspace) -> Result<Workspace, Trouble> {
    match (wanted, &shared.code) {
        (TaskWorkspace::Git(git), _) => {
            Ok(Workspace::Git(GitWorkspace { network: shared.network.clone(), ..git.clone() }))
        }
        (TaskWorkspace::Upload { sha256, size }, Some(_)) => Ok(Workspace::Upload(UploadWorkspace {
            archive: PathBuf::from(CODE),
            sha256: sha256.clone(),
            size: *size,
        })),
        (TaskWorkspace::Upload { .. }, None) => Err(Trouble::Refused(Refusal {
            of: Refused::Start,
            message: "this server keeps no uploaded code; use git instead".to_owned(),
        })),
    }
}
