//! Starting an agent.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use runvoy_core::port::{ExecutorError, Refused, StartTask, TaskWorkspace};
use runvoy_task::{GitWorkspace, TaskSpec, UploadWorkspace, Workspace, layout};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::Shared;
use super::processes::ID_VARIABLE;
use crate::task_dir::layout::{GRACE, create, make};
use crate::task_dir::note::Note;
use crate::task_dir::spec::encode;
use crate::task_dir::{blocking, files, gate, millis};

/// An agent that has not read its spec by then never will.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What is there before the agent is.
pub(super) struct Prepared {
    dir: PathBuf,
    work: PathBuf,
    log: File,
}

/// What was accepted for a container does not run beside the server.
fn for_containers() -> ExecutorError {
    ExecutorError::Refused {
        of: Refused::Image,
        message: "it was accepted for a container, and this server runs commands as processes; start the server with \
                  `--executor docker`, or run it again here"
            .to_owned(),
        source: None,
    }
}

/// Makes the execution's directory. `None` if its gate is decided already.
pub(super) async fn prepare(
    shared: &Arc<Shared>,
    task: &StartTask,
) -> Result<Option<Prepared>, ExecutorError> {
    let (shared, id, grace) = (Arc::clone(shared), task.id, millis(task.request.grace));
    let wants_image = task.request.container.image.is_some();
    let prepared = blocking(move || {
        let dir = create(&shared.root, id, shared.dir_mode())?;
        // What a container was told is decided, and its directory is the command's.
        if matches!(Note::read(&dir)?, Some(Note::Told(_))) || gate::read(&dir)?.is_some() {
            return Ok(Ok(None));
        }
        if wants_image {
            return Ok(Err(for_containers()));
        }
        let work = dir.join(layout::WORK);
        make(&work, 0o700)?;
        if let Some(user) = &shared.run_as {
            std::os::unix::fs::chown(&work, Some(user.uid), Some(user.gid))?;
        }
        files::write_new(&dir.join(GRACE), grace.to_string().as_bytes())?;
        let log =
            OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(layout::AGENT_LOG))?;
        Ok(Ok(Some(Prepared { dir, work, log })))
    });
    prepared.await?
}

/// Starts an agent in a prepared directory and hands it the spec.
pub(super) async fn start(
    shared: &Shared,
    task: &StartTask,
    prepared: Prepared,
) -> Result<Child, ExecutorError> {
    let spec = spec(shared, task, prepared.work)?;
    let spec = encode(spec).map_err(ExecutorError::unavailable)?;
    let second = prepared.log.try_clone().map_err(ExecutorError::unavailable)?;
    let mut command = Command::new(&shared.agent);
    command.arg("supervise").arg(&prepared.dir).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(prepared.log).stderr(second);
    let mut child = command.spawn().map_err(|error| cannot_spawn(shared, error))?;
    match tokio::time::timeout(HAND_OVER, hand_over(&mut child, &spec)).await {
        Ok(Ok(())) => Ok(child),
        Ok(Err(error)) => {
            let why = format!("the agent ended before it read its task ({error}); its agent.log may say why");
            Err(ExecutorError::unavailable(io::Error::other(why)))
        }
        Err(_) => {
            // It has not claimed anything: it does so only after the end of the spec.
            let _ = child.start_kill();
            Err(ExecutorError::unavailable(io::Error::other("the agent did not read its task in time")))
        }
    }
}

/// The end of the agent's standard input is the end of the spec.
async fn hand_over(child: &mut Child, spec: &[u8]) -> io::Result<()> {
    let mut input = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
    input.write_all(spec).await
}

fn spec(shared: &Shared, task: &StartTask, workdir: PathBuf) -> Result<TaskSpec, ExecutorError> {
    let mut env = shared.base_env.clone();
    env.insert("CI".to_owned(), "true".to_owned());
    env.extend(task.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    env.extend(task.request.env.clone());
    env.extend(task.reserved_env.clone());
    env.insert(ID_VARIABLE.to_owned(), task.id.to_string());
    Ok(TaskSpec {
        version: TaskSpec::VERSION,
        execution_id: task.id.to_string(),
        command: task.request.command.clone(),
        env,
        dotenv: task.request.env.keys().cloned().collect(),
        workdir,
        workspace: task.workspace.as_ref().map(|wanted| workspace(shared, wanted)).transpose()?,
        workspace_timeout_ms: TaskSpec::WORKSPACE_TIMEOUT_MS,
        run_as: shared.run_as.clone(),
        user: None,
        timeout_ms: millis(task.request.timeout),
        grace_ms: millis(task.request.grace),
        stop_signal: task.request.stop_signal.clone().unwrap_or_default().as_str().to_owned(),
        mask: task.mask.clone(),
        log_limit: task.log_limit,
        segment_bytes: shared.segment_bytes,
        max_processes: shared.max_processes,
        isolation: shared.isolation,
    })
}

fn workspace(shared: &Shared, wanted: &TaskWorkspace) -> Result<Workspace, ExecutorError> {
    match (wanted, &shared.code) {
        (TaskWorkspace::Git(git), _) => {
            Ok(Workspace::Git(GitWorkspace { network: shared.network.clone(), ..git.clone() }))
        }
        (TaskWorkspace::Upload { sha256, size }, Some(code)) => Ok(Workspace::Upload(UploadWorkspace {
            archive: code.join(sha256),
            sha256: sha256.clone(),
            size: *size,
        })),
        (TaskWorkspace::Upload { .. }, None) => Err(ExecutorError::Refused {
            of: Refused::Start,
            message: "this server keeps no uploaded code; use git instead".to_owned(),
            source: None,
        }),
    }
}

fn cannot_spawn(shared: &Shared, error: io::Error) -> ExecutorError {
    use io::ErrorKind as Kind;

    let is_of_program = matches!(error.kind(), Kind::NotFound | Kind::PermissionDenied | Kind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    if !is_of_program {
        return ExecutorError::unavailable(error);
    }
    let agent = shared.agent.display();
    ExecutorError::Refused {
        of: Refused::Start,
        message: format!("the agent {agent} cannot be run: {error}; point RUNVOY_AGENT at a runvoy-agent"),
        source: Some(error.into()),
    }
}
