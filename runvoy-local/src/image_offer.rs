//! The image that an empty registry begins with.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use runvoy_core::id::Email;

use crate::local::{Local, LocalError, failed};
use crate::task_dir::{layout::sync, unblocked};

/// There once the registry of images was given one to begin with.
const OFFERED: &str = "image.offered";

impl Local {
    /// Where commands run in images, registers the one that an empty registry begins with: once in the life of a data
    /// directory, so that whoever removes it is rid of it.
    pub async fn offer_image(&self, image: &str, owner: &Email) -> Result<(), LocalError> {
        if !self.sandbox().is_containers() {
            return Ok(());
        }
        let dir = self.data_dir().path().to_owned();
        let own = dir.clone();
        let was_offered = unblocked(move || own.join(OFFERED).try_exists()).await;
        if was_offered.map_err(failed("the data directory cannot be read"))? {
            return Ok(());
        }
        let offered = self.runvoy().bootstrap_image(image, owner).await;
        offered.map_err(failed("the default image cannot be registered"))?;
        unblocked(move || note(&dir)).await.map_err(failed("the data directory cannot be written"))
    }
}

/// Remembers that one was.
fn note(dir: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(OFFERED))?;
    sync(dir)
}
