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
use crate::task_dir::{blocking, files, unblocked};

/// Remembers what was probed, beside the executions.
const PROBED: &str = ".probed";
/// What the directory of a probe begins with: made before anything else, removed after it, and unlike anybody else's.
const DIR: &str = ".probe-";
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
    remove_left(engine, root).await?;
    let (info, own, program) = (info.clone(), root.to_owned(), agent.to_owned());
    let asked = blocking(move || {
        let subject = subject(&info, &program)?;
        let is_known = fs::read_to_string(own.join(PROBED)).is_ok_and(|probed| probed == subject);
        Ok((subject, is_known))
    });
    let (subject, is_known) = asked.await?;
    if is_known {
        return Ok(());
    }
    let nonce = nonce().map_err(ExecutorError::unavailable)?;
    let probe = Probe { engine, agent, dir: root.join(format!("{DIR}{nonce}")), name: name(&nonce), nonce };
    let outcome = tokio::time::timeout(PATIENCE, probe.run()).await;
    clean_up(engine, &probe.name, &probe.dir).await;
    match outcome {
        Ok(Ok(())) => {
            let probed = root.join(PROBED);
            blocking(move || fs::write(probed, subject)).await
        }
        Ok(Err(Trouble::Silent(message))) => Err(ExecutorError::unavailable(io::Error::other(message))),
        Ok(Err(Trouble::Refused(refusal) | Trouble::Passing(refusal))) => {
            Err(ExecutorError::refused(refusal.message))
        }
        Ok(Err(Trouble::Failed(message))) => Err(ExecutorError::refused(message)),
        Err(_) => Err(ExecutorError::refused(unseen(engine))),
    }
}

/// Whether an engine has ever shown that it sees the files under `root`.
pub(super) fn was_probed(root: &Path) -> io::Result<bool> {
    root.join(PROBED).try_exists()
}

/// The name of a probe's container, and of its image.
fn name(nonce: &str) -> String {
    format!("runvoy-probe-{nonce}")
}

/// Removes what probes of servers left that were killed meanwhile.
async fn remove_left(engine: &Engine, root: &Path) -> Result<(), ExecutorError> {
    let own = root.to_owned();
    let nonces = blocking(move || {
        let names = fs::read_dir(own)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_prefix(DIR).map(str::to_owned)).collect::<Vec<_>>())
    });
    for nonce in nonces.await? {
        clean_up(engine, &name(&nonce), &root.join(format!("{DIR}{nonce}"))).await;
    }
    Ok(())
}

/// Leaves nothing: not the container, not its image, and last of all not the directory that tells of them.
async fn clean_up(engine: &Engine, name: &str, dir: &Path) {
    let container = engine.remove(name).await;
    let image = engine.remove_image(name).await;
    if container.is_ok() && image.is_ok() {
        let dir = dir.to_owned();
        let _ = blocking(move || fs::remove_dir_all(dir)).await;
    }
}

/// What an answer holds for: another engine, agent or boot is asked anew.
fn subject(info: &SystemInfo, agent: &Path) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let file = fs::metadata(agent)?;
    let engine = super::engine::identity(info);
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
        let in_files =
            |error: io::Error| Trouble::Failed(format!("the probe's files cannot be made: {error}"));
        let dir = self.dir.clone();
        let made = unblocked(move || fs::create_dir(&dir).and_then(|()| hand_over::make_pipe(&dir)));
        made.await.map_err(in_files)?;
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
            let pipe = hand_over::reader(&self.dir).await.map_err(in_files)?;
            hand_over::tell(pipe, self.nonce.as_bytes()).await.map_err(in_files)
        };
        futures_util::future::try_join(told, started).await.map(drop)
    }

    /// Waits until the container has said back what it was told, or is gone without.
    async fn answer(&self) -> Result<(), Trouble> {
        loop {
            if self.is_answered().await {
                return Ok(());
            }
            let life =
                self.engine.life(&self.name).await.map_err(|error| self.in_words(Step::Start, error))?;
            if !matches!(life, Some(Life::Running | Life::Created)) && !self.is_answered().await {
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

    async fn is_answered(&self) -> bool {
        let dir = self.dir.clone();
        let told = unblocked(move || files::read(&dir, layout::END)).await;
        told.is_ok_and(|told| told.as_deref() == Some(self.nonce.as_bytes()))
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
}
