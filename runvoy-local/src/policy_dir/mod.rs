//! An organisation's own policies, from a directory that is read again whenever it changes.

mod files;
#[cfg(test)]
mod tests;
mod trouble;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runvoy_core::cedar::{CedarAuthorizer, Prepared};
use runvoy_core::port::BoxError;
use runvoy_core::{PolicyChange, Runvoy};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use files::{Files, Looks, borrowed};
pub use files::{PolicyDirError, read_policies};
use trouble::{Trouble, Troubles};
use watch::Watch;

/// An editor or a deployment writes several files: they are read once it has been still for so long.
const STILL: Duration = Duration::from_millis(100);
/// And at the latest after this.
const AT_THE_LATEST: Duration = Duration::from_secs(2);
/// How often the directory is looked at for what no event tells: that another took its place, a file that a link leads to.
const EVERY: Duration = Duration::from_secs(5);

/// A directory whose policies are in force.
pub(crate) struct PolicyDir {
    path: PathBuf,
    in_force: Files,
    /// Whether the audit log has those that the server started with.
    is_recorded: bool,
    /// What was refused last: it is not told twice.
    refused: Option<Files>,
    /// From before it was read last.
    looked: Looks,
    authorizer: Arc<CedarAuthorizer>,
    watch: Watch,
}

impl PolicyDir {
    /// Loads the policies, and watches from before they are read: no change is missed.
    pub(crate) fn open(path: &Path) -> Result<Self, PolicyDirError> {
        let unreadable = |source| PolicyDirError::Unreadable { path: path.to_owned(), source };
        let watch = Watch::open(path).map_err(unreadable)?;
        let looked = Looks::of(path);
        let in_force = read_policies(path)?;
        let authorizer = Arc::new(CedarAuthorizer::with_policies(&borrowed(&in_force))?);
        let path = path.to_owned();
        Ok(Self { path, in_force, is_recorded: false, refused: None, looked, authorizer, watch })
    }

    pub(crate) fn authorizer(&self) -> Arc<CedarAuthorizer> {
        Arc::clone(&self.authorizer)
    }

    /// Records those that are in force, and loads them again whenever the directory changes and whenever `wanted` is
    /// notified; never ends.
    ///
    /// What is refused is logged, and the policies that are in force stay until a file changes. What else goes wrong is
    /// logged once and tried again.
    pub(crate) async fn follow(mut self, runvoy: Runvoy, wanted: Arc<Notify>) {
        let mut troubles = Troubles::default();
        loop {
            // Before they are read: what changes from now on is told.
            self.watch.renew(&self.path);
            let retry = match self.reload(&runvoy).await {
                Ok(loaded) => {
                    troubles.over();
                    loaded.inspect(|generation| tracing::info!(generation, "policies loaded"));
                    None
                }
                Err(trouble) => troubles.note(&trouble, &self.path),
            };
            self.until_wanted(&wanted, retry).await;
        }
    }

    /// The new generation; `None` where nothing changed. Recorded before it takes effect.
    async fn reload(&mut self, runvoy: &Runvoy) -> Result<Option<u64>, Trouble> {
        if !self.is_recorded {
            record(runvoy, PolicyChange::Load, &self.in_force).await?;
            self.is_recorded = true;
        }
        let files = self.read().await?;
        if files == self.in_force {
            self.refused = None;
            return Ok(None);
        }
        if self.refused.as_ref() == Some(&files) {
            return Ok(None);
        }
        let prepared = self.prepare(&files).await;
        if matches!(prepared, Err(Trouble::Refused(_))) {
            self.refused = Some(files);
            return prepared.map(|_| None);
        }
        let prepared = prepared?;
        record(runvoy, PolicyChange::Reload, &files).await?;
        self.refused = None;
        self.in_force = files;
        Ok(Some(self.authorizer.install(prepared)))
    }

    async fn read(&mut self) -> Result<Files, Trouble> {
        let path = self.path.clone();
        let (looked, files) = blocking(move || (Looks::of(&path), read_policies(&path))).await?;
        self.looked = looked;
        files.map_err(|error| Trouble::of(error, &self.path))
    }

    async fn prepare(&self, files: &Files) -> Result<Prepared, Trouble> {
        let (authorizer, files) = (self.authorizer(), files.clone());
        blocking(move || authorizer.prepare(&borrowed(&files))).await?.map_err(Trouble::Refused)
    }

    /// Waits until the directory is to be read again: it changed, somebody asks, or `retry` is over.
    async fn until_wanted(&mut self, wanted: &Notify, retry: Option<Duration>) {
        let retry = retry.map(|pause| Instant::now() + pause);
        loop {
            let look = Instant::now() + EVERY;
            // Each way on can be dropped before it resolves, and nothing is lost.
            tokio::select! {
                () = wanted.notified() => {
                    // Whoever asks is told again.
                    self.refused = None;
                    return;
                }
                () = self.watch.changed() => return self.watch.still().await,
                () = sleep_until(retry.map_or(look, |retry| retry.min(look))) => {}
            }
            if retry.is_some_and(|retry| retry <= Instant::now()) || self.looks_different().await {
                return;
            }
        }
    }

    /// Whether the directory is not as it was; waits for the end of the change.
    async fn looks_different(&self) -> bool {
        let look = async || {
            let path = self.path.clone();
            blocking(move || Looks::of(&path)).await.unwrap_or_default()
        };
        let mut last = look().await;
        if last == self.looked {
            return false;
        }
        let latest = Instant::now() + AT_THE_LATEST;
        while Instant::now() < latest {
            sleep(STILL).await;
            let now = look().await;
            if now == last {
                break;
            }
            last = now;
        }
        true
    }
}

/// Records that a server has started without any policies of an organisation. Then it waits for ever: background work
/// that ends is taken for a failure.
pub(crate) async fn record_none(runvoy: Runvoy) {
    let (path, nothing) = (Path::new("no policies"), Files::new());
    let mut troubles = Troubles::default();
    while let Err(trouble) = record(&runvoy, PolicyChange::Load, &nothing).await {
        sleep(troubles.note(&trouble, path).unwrap_or(EVERY)).await;
    }
    std::future::pending::<()>().await;
}

async fn record(runvoy: &Runvoy, change: PolicyChange, files: &Files) -> Result<(), Trouble> {
    let recorded = runvoy.record_policies(change, &borrowed(files)).await;
    recorded.map_err(|error| Trouble::Passing(BoxError::from(error)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Trouble::Passing(BoxError::from(error)))
}
