//! Containers for what is new, and processes for what an earlier server started as such.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt as _, select};
use runvoy_core::execution::TaskHandle;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{
    Capabilities, Claim, Executor, ExecutorError, Progress, StartTask, TaskEvent, TaskState,
};

use crate::docker::DockerExecutor;
use crate::process::ProcessExecutor;
use crate::task_dir::layout::execution_dir;
use crate::task_dir::note::Note;
use crate::task_dir::{blocking, gate};

/// Whether a container has the command.
fn is_told(dir: &Path) -> io::Result<bool> {
    Ok(matches!(Note::read(dir)?, Some(Note::Told(_))))
}

/// Two executors over one data directory.
pub(crate) struct Both {
    docker: DockerExecutor,
    process: ProcessExecutor,
    root: PathBuf,
}

impl Both {
    pub(crate) fn new(docker: DockerExecutor, process: ProcessExecutor, root: &Path) -> Self {
        Self { docker, process, root: root.to_owned() }
    }

    /// Which of them are processes: those whose command was claimed in no container.
    async fn are_processes(&self, ids: &[ExecutionId]) -> Result<Vec<bool>, ExecutorError> {
        let (root, ids) = (self.root.clone(), ids.to_vec());
        blocking(move || {
            let dirs = ids.into_iter().map(|id| execution_dir(&root, id));
            dirs.map(|dir| Ok(!is_told(&dir)? && matches!(gate::read(&dir), Ok(Some(_))))).collect()
        })
        .await
    }
}

#[async_trait]
impl Executor for Both {
    fn capabilities(&self) -> Capabilities {
        self.docker.capabilities()
    }

    async fn admit(&self) -> Result<(), ExecutorError> {
        self.docker.admit().await
    }

    async fn start(&self, task: &StartTask) -> Result<Option<TaskHandle>, ExecutorError> {
        self.docker.start(task).await
    }

    async fn revoke(&self, id: ExecutionId) -> Result<Claim, ExecutorError> {
        // They have one gate.
        self.docker.revoke(id).await
    }

    async fn stop(&self, id: ExecutionId, grace: Option<Duration>) -> Result<(), ExecutorError> {
        if self.are_processes(&[id]).await? == [true] {
            self.process.stop(id, grace).await
        } else {
            self.docker.stop(id, grace).await
        }
    }

    async fn describe(&self, ids: &[ExecutionId]) -> Result<Vec<TaskState>, ExecutorError> {
        let are_processes = self.are_processes(ids).await?;
        let of = |process: bool| -> Vec<ExecutionId> {
            let all = ids.iter().zip(&are_processes);
            all.filter(|(_, is_process)| **is_process == process).map(|(id, _)| *id).collect()
        };
        let mut processes = self.process.describe(&of(true)).await?.into_iter();
        let mut containers = self.docker.describe(&of(false)).await?.into_iter();
        let next = |is_process| if is_process { processes.next() } else { containers.next() };
        Ok(are_processes.into_iter().map(next).map(|state| state.unwrap_or(TaskState::Unknown)).collect())
    }

    fn progress(&self, id: ExecutionId) -> Option<Progress> {
        self.docker.progress(id)
    }

    fn events(&self) -> BoxStream<'static, TaskEvent> {
        select(self.docker.events(), self.process.events()).boxed()
    }
}
