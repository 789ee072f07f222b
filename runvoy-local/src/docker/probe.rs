//! Whether an engine has our files before it: asked once, by a container that says back what it is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, SystemInfo};
use bytes::Bytes;
use runvoy_core::port::ExecutorError;
use runvoy_task::layout;

use super::container::{AGENT, TASK, bind, host};
use super::engine::{Engine, Life};
use super::error::EngineError;
use super::hand_over;
use super::refusal::{Step, Trouble, trouble};

/// Remembers what was probed, beside the executions.
const PROBED: &str = ".probed";
/// Time for an engine that was never used to start its first container.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// An archive without a file: two blocks of zeroes (`tar(5)`).
const EMPTY_ARCHIVE: &[u8] = &[0; 1024];

/// Makes sure that containers of this engine see the files under `root` and can run the agent.
pub(super) async fn probe(
    engine: &Engine,
    info: &SystemInfo,
    root: &Path,
    agent: &Path,
) -> Result<(), ExecutorError> {
    let subject = subject(info, agent).map_err(ExecutorError::unavailable)?;
    if fs::read_to_string(root.join(PROBED)).is_ok_and(|probed| probed == subject) {
        return Ok(());
    }
    let nonce = nonce().map_err(ExecutorError::unavailable)?;
    let probe = Probe {
        engine,
        agent,
        dir: root.join(format!(".probe-{nonce}")),
        name: format!("runvoy-probe-{nonce}"),
        nonce,
    };
    let outcome = tokio::time::timeout(PATIENCE, probe.run()).await;
    probe.clean_up().await;
    match outcome {
        Ok(Ok(())) => fs::write(root.join(PROBED), subject).map_err(ExecutorError::unavailable),
        Ok(Err(Trouble::Silent(message))) => Err(ExecutorError::unavailable(io::Error::other(message))),
        Ok(Err(Trouble::Refused(refusal))) => Err(ExecutorError::refused(refusal.message)),
        Ok(Err(Trouble::Failed(message))) => Err(ExecutorError::refused(message)),
        Err(_) => Err(ExecutorError::refused(unseen(engine))),
    }
}

/// What an answer holds for: another engine, agent or boot is asked anew.
fn subject(info: &SystemInfo, agent: &Path) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let file = fs::metadata(agent)?;
    let engine = info.id.as_deref().unwrap_or_default();
    let version = info.server_version.as_deref().unwrap_or_default();
    let (path, inode, changed) = (agent.display(), file.ino(), file.mtime());
    Ok(format!("{engine} {version} {} {path} {inode} {changed}\n", boot.trim()))
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

fn unseen(engine: &Engine) -> String {
    format!(
        "the Docker engine at {} does not see this server's files, as when it runs on another machine or in a virtual one; \
         run the server where the engine runs, or use the process executor",
        engine.host()
    )
}

struct Probe<'a> {
    engine: &'a Engine,
    agent: &'a Path,
    dir: PathBuf,
    name: String,
    nonce: String,
}

impl Probe<'_> {
    async fn run(&self) -> Result<(), Trouble> {
        let files = |error: io::Error| Trouble::Failed(format!("the probe's files cannot be made: {error}"));
        fs::create_dir(&self.dir).map_err(files)?;
        hand_over::make_pipe(&self.dir).map_err(files)?;
        let image = self.engine.import(Bytes::from_static(EMPTY_ARCHIVE), &self.name).await;
        image.map_err(|error| self.in_words(Step::Pull, error))?;
        let made = self.engine.create(&self.name, None, self.body()).await;
        made.map_err(|error| self.in_words(Step::Create, error))?;
        let started = async {
            let started = self.engine.start(&self.name).await;
            started.map_err(|error| self.in_words(Step::Start, error))?;
            self.answer().await
        };
        let told = async {
            let pipe = hand_over::reader(&self.dir).await.map_err(files)?;
            hand_over::tell(pipe, self.nonce.as_bytes()).await.map_err(files)
        };
        futures_util::future::try_join(told, started).await.map(drop)
    }

    /// Waits until the container has said back what it was told, or is gone without.
    async fn answer(&self) -> Result<(), Trouble> {
        loop {
            if self.is_answered() {
                return Ok(());
            }
            let life =
                self.engine.life(&self.name).await.map_err(|error| self.in_words(Step::Start, error))?;
            if !matches!(life, Some(Life::Running | Life::Created)) && !self.is_answered() {
                return Err(Trouble::Failed(self.unusable()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The agent was there, and ended without a word.
    fn unusable(&self) -> String {
        format!(
            "the agent {} does not run in containers; point RUNVOY_AGENT at a runvoy-agent that is linked statically \
             for the engine's architecture",
            self.agent.display()
        )
    }

    fn is_answered(&self) -> bool {
        fs::read_to_string(self.dir.join(layout::END)).is_ok_and(|told| told == self.nonce)
    }

    fn body(&self) -> ContainerCreateBody {
        ContainerCreateBody {
            user: Some("0:0".to_owned()),
            image: Some(self.name.clone()),
            entrypoint: Some(vec![AGENT.to_owned()]),
            cmd: Some(vec!["probe".to_owned(), TASK.to_owned()]),
            host_config: Some(HostConfig {
                mounts: Some(vec![bind(self.agent, AGENT, true), bind(&self.dir, TASK, false)]),
                network_mode: Some("none".to_owned()),
                auto_remove: Some(true),
                ..host()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn in_words(&self, step: Step, error: EngineError) -> Trouble {
        trouble(step, &self.name, error)
    }

    /// Leaves nothing: not the container, not its image, not the directory.
    async fn clean_up(&self) {
        let _ = self.engine.remove(&self.name).await;
        let _ = self.engine.remove_image(&self.name).await;
        let _ = fs::remove_dir_all(&self.dir);
    }
}
