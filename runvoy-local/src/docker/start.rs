//! One start, from its image to the claim of its command: tried again for as long as somebody may still want it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Refusal, Refused, StartTask, TaskEvent, TaskState};
use runvoy_task::layout;
use tokio::sync::Notify;

use super::engine::Life;
use super::error::EngineError;
use super::image::Image;
use super::pull::{self, Wanted};
use super::refusal::{Step, Trouble, error_chain, trouble};
use super::{Shared, container, hand_over};
use crate::task_dir::files as task_files;
use crate::task_dir::follow::Follower;
use crate::task_dir::layout::{create, execution_dir};
use crate::task_dir::note::{Note, Told};
use crate::task_dir::spec::encode;
use crate::task_dir::{gate, millis, unblocked};

/// What does not work so often never will.
const TRIES: u32 = 3;
/// Pauses between attempts, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often it is looked whether a container still lives that was not told its command.
const WATCH: Duration = Duration::from_millis(50);
/// A container whose agent does not read by then is no good.
const READ: Duration = Duration::from_mins(2);

/// Makes the execution's directory. Whether anything is left to be done.
pub(super) fn prepare(root: &Path, id: ExecutionId) -> io::Result<bool> {
    let dir = create(root, id, 0o700)?;
    Ok(!is_decided_there(&dir)?)
}

/// By the note first: once a container was told, the gate is what the command makes of it.
fn is_decided_there(dir: &Path) -> io::Result<bool> {
    Ok(Note::read(dir)?.is_some() || gate::read(dir)?.is_some())
}

/// Whether somebody has the command, or nobody ever will. What cannot be read does not stop a start: the note does.
async fn is_decided(dir: PathBuf) -> bool {
    unblocked(move || is_decided_there(&dir)).await.unwrap_or(false)
}

/// Starts a task; what stands in its way for good is told.
pub(super) async fn run(shared: Arc<Shared>, follower: Arc<Follower>, task: StartTask) {
    let id = task.id;
    let refusal = persist(&shared, &follower, &task).await;
    if let Some(refusal) = &refusal {
        tracing::warn!(execution.id = %id, "task refused: {refusal}");
        let _ = shared.engine.remove(&container::name(id)).await;
    }
    shared.jobs.done(id, refusal.clone());
    if let Some(refusal) = refusal {
        shared.deaths.forget(id);
        follower.tell(TaskEvent { id, state: TaskState::Refused(Box::new(refusal)) });
    }
}

async fn persist(shared: &Shared, follower: &Follower, task: &StartTask) -> Option<Refusal> {
    let dir = execution_dir(&shared.root, task.id);
    let (mut pause, longest) = PAUSES;
    let mut failures = 0;
    loop {
        let Err(trouble) = attempt(shared, follower, task, &dir).await else { return None };
        if is_decided(dir.clone()).await {
            return None;
        }
        let passing = match trouble {
            Trouble::Refused(refusal) => return Some(refusal),
            Trouble::Passing(refusal) => Ok(refusal),
            Trouble::Failed(message) => Ok(Refusal { of: Refused::Start, message }),
            Trouble::Silent(message) => Err(message),
        };
        match passing {
            Ok(refusal) => {
                failures += 1;
                tracing::warn!(execution.id = %task.id, error = %refusal, "task not started yet");
                if failures >= TRIES {
                    return Some(refusal);
                }
            }
            // Nobody answered, which says nothing of the task.
            Err(message) => tracing::warn!(execution.id = %task.id, error = %message, "task not started yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn attempt(shared: &Shared, follower: &Follower, task: &StartTask, dir: &Path) -> Result<(), Trouble> {
    let wants = &task.request.container;
    let Some(reference) = &wants.image else {
        let message = "no image is named for it; run it again with `--image`".to_owned();
        return Err(Trouble::Refused(Refusal { of: Refused::Image, message }));
    };
    let wanted = Wanted { id: task.id, reference, platform: wants.platform.as_deref() };
    let image = pull::image(shared, follower, &wanted, || is_decided(dir.to_owned()).boxed()).await?;
    let Some(image) = image else { return Ok(()) };
    let spec = encode(container::spec(shared, task, &image)?)
        .map_err(|error| Trouble::Failed(format!("the task cannot be written down: {error}")))?;
    // So many at once as the machine can bear. The semaphore is never closed.
    let _turn = shared.turns.acquire().await;
    if is_decided(dir.to_owned()).await {
        return Ok(());
    }
    let own = dir.to_owned();
    unblocked(move || hand_over::make_pipe(&own)).await.map_err(|error| files(dir, &error))?;
    let container = made(shared, task, &image, dir).await?;
    let told = Told {
        at_ms: 0,
        grace_ms: Some(millis(task.request.grace)),
        engine: Some(shared.identity()),
        container: Some(container),
        image_digest: Some(image.digest),
        over: None,
    };
    match begin(shared, task, dir, told, &spec).await {
        Ok(true) => Ok(()),
        begun @ (Ok(false) | Err(Trouble::Failed(_))) => {
            discard(shared, task.id, dir).await?;
            begun.map(drop)
        }
        Err(trouble) => Err(trouble),
    }
}

/// Removes a container that was not told its command: revoked, or no good.
async fn discard(shared: &Shared, id: ExecutionId, dir: &Path) -> Result<(), Trouble> {
    let own = dir.to_owned();
    match unblocked(move || Note::read(&own)).await {
        // Another server's start was quicker: it is theirs.
        Ok(Some(Note::Told(_))) => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(files(dir, &error)),
    }
    let removed = shared.engine.remove(&container::name(id)).await;
    removed.map_err(|error| Trouble::Silent(error_chain(&error)))
}

fn files(dir: &Path, error: &io::Error) -> Trouble {
    Trouble::Failed(format!("the files of the execution in {} cannot be made: {error}", dir.display()))
}

/// Makes the task's container, or finds the one that an earlier attempt made. What the engine calls it.
async fn made(shared: &Shared, task: &StartTask, image: &Image, dir: &Path) -> Result<String, Trouble> {
    let name = container::name(task.id);
    let wants = &task.request.container;
    let reference = wants.image.as_deref().unwrap_or_default();
    let in_words = |error| trouble(Step::Create, reference, error);
    let platform = wants.platform.as_deref();
    let body = || container::body(shared, task, image, dir);
    match shared.engine.create(&name, platform, body()).await {
        Err(EngineError::Said { status: 409, .. }) => {}
        other => return other.map_err(in_words),
    }
    match shared.engine.container(&name).await.map_err(in_words)? {
        Some((container, Life::Created | Life::Running)) => Ok(container),
        Some((_, Life::Over(_))) | None => {
            // It was told nothing, and nothing of it can run any more.
            shared.engine.remove(&name).await.map_err(in_words)?;
            shared.engine.create(&name, platform, body()).await.map_err(in_words)
        }
    }
}

/// Starts the container and tells its agent the spec. Whether that was begun: from then on the command is claimed.
async fn begin(
    shared: &Shared,
    task: &StartTask,
    dir: &Path,
    told: Told,
    spec: &[u8],
) -> Result<bool, Trouble> {
    let (is_told, is_over) = (Notify::new(), Notify::new());
    let watched = async {
        let watched = watch(shared, task, dir, &is_told).await;
        is_over.notify_one();
        watched
    };
    let handed = async {
        let handed = hand(shared, dir, told, spec, &is_over).await;
        is_told.notify_one();
        handed
    };
    // Neither is cut short: an engine may take that for a wish to stop it, and a note may be half written.
    let (watched, handed) = futures_util::future::join(watched, handed).await;
    if handed.map_err(|error| files(dir, &error))? { Ok(true) } else { watched.map(|()| false) }
}

/// Starts the container, and waits until it was told its command or is no good.
async fn watch(shared: &Shared, task: &StartTask, dir: &Path, is_told: &Notify) -> Result<(), Trouble> {
    let name = container::name(task.id);
    let reference = task.request.container.image.as_deref().unwrap_or_default();
    shared.engine.start(&name).await.map_err(|error| trouble(Step::Start, reference, error))?;
    let died = async {
        loop {
            tokio::time::sleep(WATCH).await;
            if matches!(shared.engine.life(&name).await, Ok(None | Some(Life::Over(_)))) {
                return died(dir).await;
            }
        }
    };
    let secs = READ.as_secs();
    tokio::select! {
        () = is_told.notified() => Ok(()),
        trouble = died => Err(trouble),
        () = tokio::time::sleep(READ) => Err(Trouble::Failed(
            format!("its container did not begin within {secs} s; look at the engine's machine"),
        )),
    }
}

/// Tells the agent the spec, once it reads. Before the first byte it is noted that it is told: whoever comes later
/// finds that it may have begun. Whether that was so.
async fn hand(shared: &Shared, dir: &Path, told: Told, spec: &[u8], is_over: &Notify) -> io::Result<bool> {
    let pipe = tokio::select! {
        pipe = hand_over::reader(dir) => pipe?,
        () = is_over.notified() => return Ok(false),
    };
    let note = Note::Told(Told { at_ms: shared.now_ms(), ..told });
    let own = dir.to_owned();
    if !unblocked(move || note.decide(&own)).await? {
        return Ok(false);
    }
    // What an agent makes of half a spec, whoever watches its container sees.
    match tokio::time::timeout(READ, hand_over::tell(pipe, spec)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an agent was not told its whole spec"),
        Err(_) => tracing::warn!("an agent did not read its whole spec in time"),
    }
    Ok(true)
}

/// An agent that ended before it was told its command has said why, if it could.
async fn died(dir: &Path) -> Trouble {
    let dir = dir.to_owned();
    let said = unblocked(move || Ok(last_line(&dir))).await.ok().flatten().unwrap_or_default();
    let said = said.strip_prefix("runvoy-agent: ").unwrap_or(&said);
    let why = if said.is_empty() { "it left no word".to_owned() } else { said.to_owned() };
    Trouble::Failed(format!("its container ended before the command began: {why}"))
}

fn last_line(dir: &Path) -> Option<String> {
    let bytes = task_files::read(dir, layout::AGENT_LOG).ok()??;
    String::from_utf8_lossy(&bytes).lines().next_back().map(str::to_owned)
}
