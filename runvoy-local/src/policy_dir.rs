//! An organisation's own policies, from a directory that is read again whenever it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask, Watches};
use runvoy_core::Runvoy;
use runvoy_core::cedar::{CedarAuthorizer, PolicyError};
use runvoy_core::port::BoxError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// An editor or a deployment writes several files: they are read once it has been still for so long.
const STILL: Duration = Duration::from_millis(100);
/// And at the latest after this.
const AT_THE_LATEST: Duration = Duration::from_secs(2);
/// Room for the events of one read.
const BUFFER: usize = 16 * 1024;
/// What makes a file one of policies.
const EXTENSION: &str = "cedar";

/// Why the policies of a directory are not in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyDirError {
    /// The directory, or a file in it, cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is refused.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

/// Names and texts, in the order of their names.
type Files = Vec<(String, String)>;

/// The files `*.cedar` of a directory, not of those below it.
pub fn read_policies(dir: &Path) -> Result<Vec<(String, String)>, PolicyDirError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PolicyDirError::Unreadable { path, source }
    };
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        // Follows links: that is how files are mounted into containers.
        if path.extension().is_none_or(|extension| extension != EXTENSION) || path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, text));
    }
    files.sort();
    Ok(files)
}

fn borrowed(files: &Files) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

/// A directory whose policies are in force.
pub(crate) struct PolicyDir {
    path: PathBuf,
    loaded: Files,
    authorizer: Arc<CedarAuthorizer>,
    watches: Watches,
    events: EventStream<Vec<u8>>,
}

impl PolicyDir {
    /// Loads the policies, and watches from before they are read: no change is missed.
    pub(crate) fn open(path: &Path) -> Result<Self, PolicyDirError> {
        let unreadable = |source| PolicyDirError::Unreadable { path: path.to_owned(), source };
        let inotify = Inotify::init().map_err(unreadable)?;
        let mut watches = inotify.watches();
        watch(&mut watches, path).map_err(unreadable)?;
        let events = inotify.into_event_stream(vec![0; BUFFER]).map_err(unreadable)?;
        let loaded = read_policies(path)?;
        let authorizer = Arc::new(CedarAuthorizer::with_policies(&borrowed(&loaded))?);
        Ok(Self { path: path.to_owned(), loaded, authorizer, watches, events })
    }

    pub(crate) fn authorizer(&self) -> Arc<CedarAuthorizer> {
        Arc::clone(&self.authorizer)
    }

    /// Loads them again whenever the directory changes and whenever `wanted` is notified; never ends.
    ///
    /// What is refused is logged, and the policies that are in force stay.
    pub(crate) async fn follow(mut self, runvoy: Runvoy, wanted: Arc<Notify>) {
        loop {
            tokio::select! {
                () = wanted.notified() => {}
                () = changed(&mut self.events) => {}
            }
            // Another directory may have taken its place; to watch the same one again changes nothing.
            if let Err(error) = watch(&mut self.watches, &self.path) {
                tracing::warn!(%error, dir = %self.path.display(), "policies are not watched");
            }
            match self.reload(&runvoy).await {
                Ok(Some(generation)) => tracing::info!(generation, "policies loaded"),
                Ok(None) => tracing::debug!("policies are as they were"),
                Err(error) => refused(&*error),
            }
        }
    }

    /// The new generation; `None` where nothing changed. Recorded before it takes effect.
    async fn reload(&mut self, runvoy: &Runvoy) -> Result<Option<u64>, BoxError> {
        let (path, authorizer) = (self.path.clone(), self.authorizer());
        let prepared = tokio::task::spawn_blocking(move || {
            let files = read_policies(&path)?;
            let prepared = authorizer.prepare(&borrowed(&files))?;
            Ok::<_, PolicyDirError>((files, prepared))
        });
        let (files, prepared) = prepared.await??;
        if files == self.loaded {
            return Ok(None);
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        runvoy.record_policy_reload(&names.join(", ")).await?;
        self.loaded = files;
        Ok(Some(self.authorizer.install(prepared)))
    }
}

fn watch(watches: &mut Watches, path: &Path) -> io::Result<()> {
    let mask = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
    watches.add(path, mask | WatchMask::ONLYDIR).map(drop)
}

/// Waits for a change, and for its end.
async fn changed(events: &mut EventStream<Vec<u8>>) {
    if !matches!(events.next().await, Some(Ok(_))) {
        tracing::warn!("policies are no longer watched; SIGHUP still loads them");
        return std::future::pending().await;
    }
    let latest = Instant::now() + AT_THE_LATEST;
    while let Ok(Some(Ok(_))) = timeout_at(latest.min(Instant::now() + STILL), events.next()).await {}
}

fn refused(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    let what = "policies refused; those of before stay in force";
    if let Some(PolicyDirError::Refused(error)) = error.downcast_ref() {
        tracing::error!(file = error.file, line = error.line, reason = error.reason, "{what}");
    } else {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "{what}");
    }
}
