//! Registered images: what there is to run commands in, and how a registry changes.

mod reference;
mod registry;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use reference::{ImageReference, Platform};
pub use registry::{ImageAnswer, ImageChange, ImageCommand, find, is_id, step};

use crate::execution::StopSignal;
use crate::id::{Email, ParseIdError, RequestId};

/// Names a registered image together with its settings: `NAME:TAG-HASH`, where the hash is 8 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(String);

impl ImageId {
    /// The id of an image with such settings: always the same one.
    pub fn new(reference: &ImageReference, image: &str, settings: &ImageSettings) -> Self {
        let ImageSettings { cpu, memory, platform, task_role_name, task_execution_role_name } = settings;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let platform = platform.as_ref().map(ToString::to_string).unwrap_or_default();
        let parts = [
            image.to_owned(),
            cpu.to_string(),
            memory.to_string(),
            platform,
            text(task_role_name),
            text(task_execution_role_name),
        ];
        let hash = Sha256::digest(parts.join("\n"));
        let hash = hash.first_chunk().copied().map_or(0, u32::from_be_bytes);
        Self(format!("{}:{}-{hash:08x}", reference.name(), reference.tag()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        is_id(text)
            .then(|| Self(text.to_owned()))
            .ok_or(ParseIdError("an image's id is `NAME:TAG-HASH`, as `runvoy images list` shows it"))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registered image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// What it was registered as: what executors fetch, and what policies name.
    pub image: String,
    /// What makes it this one.
    pub settings: ImageSettings,
    /// What may change.
    pub manner: ImageManner,
    /// Whether a run that names none gets it.
    pub is_default: bool,
    /// Who registered it.
    pub created_by: Email,
    /// Who owns it.
    pub owned_by: Vec<Email>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The request that registered it.
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    pub modified_by_request_id: RequestId,
}

/// Settings that an image's id stands for: with others it is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSettings {
    /// CPU units of a run that names none, 1024 a core; 0 for no limit.
    pub cpu: u64,
    /// Memory in MiB of a run that names none; 0 for no limit.
    pub memory: u64,
    /// What it is built for; the executor's own platform if absent.
    pub platform: Option<Platform>,
    /// The cloud role that its commands have.
    pub task_role_name: Option<String>,
    /// The cloud role that its tasks are started with.
    pub task_execution_role_name: Option<String>,
}

/// How commands run in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageManner {
    /// Who they run as, `NAME|UID[:GROUP|GID]`; the image's own user if absent.
    pub user: Option<String>,
    /// What asks them to end, where the run does not say; the image's own signal if absent.
    pub stop_signal: Option<StopSignal>,
    /// The executor's networks that they may be in; the first unless the run names one. The executor's own if empty.
    pub networks: Vec<String>,
    /// Whether nothing but the workspace and what the image declares can be written to.
    pub read_only: bool,
}
