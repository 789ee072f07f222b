//! One start, from its image to the claim of its command: tried again for as long as somebody may still want it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runvoy_core::id::ExecutionId;
use runvoy_core::port::{Refusal, Refused, StartTask, TaskEvent, TaskState};
use runvoy_task::{GateState, layout};

use super::engine::Life;
use super::error::EngineError;
use super::image::Image;
use super::note::Note;
use super::pull::{self, Wanted};
use super::refusal::{Step, Trouble, trouble};
use super::{Shared, container, hand_over};
use crate::task_dir::files as task_files;
use crate::task_dir::follow::Follower;
use crate::task_dir::gate;
use crate::task_dir::layout::{GRACE, create, execution_dir};
use crate::task_dir::millis;

/// What does not work so often never will.
const TRIES: u32 = 3;
/// Pauses between attempts, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often it is looked whether a container still lives that has not claimed its command.
const WATCH: Duration = Duration::from_millis(50);
/// A container that has not claimed its command by then is no good.
const CLAIM: Duration = Duration::from_mins(2);

/// Makes the execution's directory. Whether its gate is still open.
pub(super) fn prepare(root: &Path, id: ExecutionId, grace: Duration) -> io::Result<bool> {
    let dir = create(root, id, 0o700)?;
    if gate::read(&dir)?.is_some() {
        return Ok(false);
    }
    fs::write(dir.join(GRACE), millis(grace).to_string())?;
    Ok(true)
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
        follower.tell(TaskEvent { id, state: TaskState::Refused(Box::new(refusal)) });
    }
}

async fn persist(shared: &Shared, follower: &Follower, task: &StartTask) -> Option<Refusal> {
    let dir = execution_dir(&shared.root, task.id);
    let (mut pause, longest) = PAUSES;
    let mut failures = 0;
    loop {
        match attempt(shared, follower, task, &dir).await {
            Ok(()) => return None,
            Err(Trouble::Refused(refusal)) => return Some(refusal),
            Err(Trouble::Passing(refusal)) => {
                failures += 1;
                tracing::warn!(execution.id = %task.id, "not started yet: {refusal}");
                if failures >= TRIES {
                    return Some(refusal);
                }
            }
            Err(Trouble::Failed(message)) => {
                failures += 1;
                tracing::warn!(execution.id = %task.id, "not started yet: {message}");
                if failures >= TRIES {
                    return Some(Refusal { of: Refused::Start, message });
                }
            }
            Err(Trouble::Silent(message)) => {
                tracing::warn!(execution.id = %task.id, "not started yet: {message}");
            }
        }
        if is_decided(&dir) {
            return None;
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
    let image = pull::image(shared, follower, &wanted, || is_decided(dir)).await?;
    let Some(image) = image else { return Ok(()) };
    let spec = serde_json::to_vec(&container::spec(shared, task, &image)?)
        .map_err(|error| Trouble::Failed(format!("the task cannot be written down: {error}")))?;
    // So many at once as the machine can bear. The semaphore is never closed.
    let _turn = shared.turns.acquire().await;
    if is_decided(dir) {
        return Ok(());
    }
    note(dir, &image).map_err(|error| files(dir, &error))?;
    made(shared, task, &image, dir).await?;
    let begun = tokio::time::timeout(CLAIM, begin(shared, task, dir, &spec)).await;
    if let Ok(begun) = begun {
        begun?;
    }
    settle(shared, task.id, dir, begun_in_time(dir)).await
}

/// What is left to do about a container that was started.
async fn settle(shared: &Shared, id: ExecutionId, dir: &Path, claimed: Option<bool>) -> Result<(), Trouble> {
    if claimed == Some(true) {
        return Ok(());
    }
    // A revoked task's agent waits for nobody; one that did not claim in time is not to do so later.
    let removed = shared.engine.remove(&container::name(id)).await;
    removed.map_err(|error| Trouble::Silent(error.to_string()))?;
    if claimed.is_some() || is_decided(dir) {
        return Ok(());
    }
    let secs = CLAIM.as_secs();
    Err(Trouble::Failed(format!("its container did not begin within {secs} s; look at the engine's machine")))
}

/// Whether the gate is claimed; `None` while it is open.
fn begun_in_time(dir: &Path) -> Option<bool> {
    gate::read(dir).ok()?.map(|gate| matches!(gate.state, GateState::Claimed(_)))
}

fn is_decided(dir: &Path) -> bool {
    matches!(gate::read(dir), Ok(Some(_)))
        || matches!(Note::read(dir), Ok(Some(note)) if note.claimed_at_ms.is_some())
}

/// Notes what the container is made of, and makes the pipe for its agent.
fn note(dir: &Path, image: &Image) -> io::Result<()> {
    Note { image_digest: image.digest.clone(), claimed_at_ms: None }.write(dir)?;
    hand_over::make_pipe(dir)
}

fn files(dir: &Path, error: &io::Error) -> Trouble {
    Trouble::Failed(format!("the files of the execution in {} cannot be made: {error}", dir.display()))
}

/// Makes the task's container, or finds the one that an earlier attempt made.
async fn made(shared: &Shared, task: &StartTask, image: &Image, dir: &Path) -> Result<(), Trouble> {
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
    match shared.engine.life(&name).await.map_err(in_words)? {
        Some(Life::Created | Life::Running) => Ok(()),
        Some(Life::Over) | None => {
            // It ended without a claim: nothing of it can run any more.
            shared.engine.remove(&name).await.map_err(in_words)?;
            shared.engine.create(&name, platform, body()).await.map_err(in_words)
        }
    }
}

/// Starts the container and tells its agent the spec, until the gate is decided.
async fn begin(shared: &Shared, task: &StartTask, dir: &Path, spec: &[u8]) -> Result<(), Trouble> {
    let name = container::name(task.id);
    let reference = task.request.container.image.as_deref().unwrap_or_default();
    let is_told = AtomicBool::new(false);
    let alive = async {
        shared.engine.start(&name).await.map_err(|error| trouble(Step::Start, reference, error))?;
        while !is_decided(dir) {
            let life = shared.engine.life(&name).await;
            let is_over = matches!(life, Ok(None | Some(Life::Over)));
            if is_over && !is_decided(dir) {
                return Err(died(dir, is_told.load(Ordering::Relaxed)));
            }
            tokio::time::sleep(WATCH).await;
        }
        Ok(())
    };
    let told = async {
        let told = hand_over::tell(dir, spec, || is_decided(dir)).await;
        is_told.store(true, Ordering::Relaxed);
        told.map_err(|error| files(dir, &error))
    };
    // The start is not cut short: an engine may take that for a wish to stop it.
    futures_util::future::try_join(told, alive).await.map(drop)
}

/// An agent that ended before it claimed its command has said why, if it could.
///
/// Once it knew the command, another one must not: a command that is root could have removed what shows its claim.
fn died(dir: &Path, is_told: bool) -> Trouble {
    let said = last_line(dir).unwrap_or_default();
    let said = said.strip_prefix("runvoy-agent: ").unwrap_or(&said);
    let why = if said.is_empty() { "it left no word".to_owned() } else { said.to_owned() };
    let message = format!("its container ended before the command began: {why}");
    if is_told { Trouble::Refused(Refusal { of: Refused::Start, message }) } else { Trouble::Failed(message) }
}

fn last_line(dir: &Path) -> Option<String> {
    let bytes = task_files::read(dir, layout::AGENT_LOG).ok()??;
    String::from_utf8_lossy(&bytes).lines().next_back().map(str::to_owned)
}
