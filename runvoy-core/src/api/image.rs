use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{Email, RequestId};
use crate::images::{Image, ImageId, ImageReference};

/// What `runtime_platform` says where the executor's own platform is meant.
pub const DEFAULT_PLATFORM: &str = "default";

/// The body of `POST /images/register`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RegisterImageRequest {
    /// The image, as its registry has it.
    pub image: String,
    /// Whether a run that names none gets it; the first image is the default unless this is `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
    /// CPU units of a run that names none, 1024 a core; 0 for no limit, 256 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// MiB of memory of a run that names none; 0 for no limit, 512 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// `OS/ARCHITECTURE[/VARIANT]`; the executor's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_platform: Option<String>,
    /// The cloud role of commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_role_name: Option<String>,
    /// The cloud role that tasks are started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_execution_role_name: Option<String>,
    /// How commands run in it.
    #[serde(flatten)]
    pub manner: MannerRequest,
}

/// How commands run in an image, as far as it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MannerRequest {
    /// Who commands run as, `NAME|UID[:GROUP|GID]`; empty for the image's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What asks commands to end; empty for the image's own signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The executor's networks that commands may be in; the first unless the run names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Whether the root file system is read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// The body of `PUT /images/{id}`. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ChangeImageRequest {
    /// Whether a run that names none gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
    /// How commands run in it.
    #[serde(flatten)]
    pub manner: MannerRequest,
}

/// The answer to `POST /images/register` and to `DELETE /images/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ImageDone {
    /// The image, as it was named.
    pub image: String,
    /// What happened.
    pub message: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_id: String,
}

/// A registered image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ImageData {
    /// Its id.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub image_id: ImageId,
    /// What it was registered as.
    pub image: String,
    /// Its name for task definitions.
    pub task_definition_name: String,
    /// Whether a run that names none gets it.
    pub is_default: bool,
    /// CPU units of a run that names none; 0 for no limit.
    pub cpu: u64,
    /// MiB of memory of a run that names none; 0 for no limit.
    pub memory: u64,
    /// `OS/ARCHITECTURE[/VARIANT]`, or `default` for the executor's own.
    pub runtime_platform: String,
    /// Its name, its organisation included.
    pub image_name: String,
    /// Its tag or digest.
    pub image_tag: String,
    /// The cloud role of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role_name: Option<String>,
    /// The cloud role that tasks are started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_execution_role_name: Option<String>,
    /// Who commands run as, where it is not the image's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What asks commands to end, where it is not the image's own signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The networks that commands may be in, where it is not the executor's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Whether the root file system is read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Who registered it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by: Email,
    /// Who owns it.
    #[cfg_attr(feature = "http", schema(value_type = Vec<String>))]
    pub owned_by: Vec<Email>,
    /// When it was registered.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// The request that registered it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub modified_by_request_id: RequestId,
}

impl From<Image> for ImageData {
    fn from(image: Image) -> Self {
        let reference = image.image.parse::<ImageReference>();
        let (image_name, image_tag) = reference.map_or_else(
            |_| (image.image.clone(), String::new()),
            |reference| (reference.name().to_owned(), reference.tag().to_owned()),
        );
        let (settings, manner) = (image.settings, image.manner);
        let platform = settings.platform.map(|platform| platform.to_string());
        Self {
            task_definition_name: task_definition_name(&image_name, &image_tag),
            image_id: image.id,
            image: image.image,
            is_default: image.is_default,
            cpu: settings.cpu,
            memory: settings.memory,
            runtime_platform: platform.unwrap_or_else(|| DEFAULT_PLATFORM.to_owned()),
            image_name,
            image_tag,
            task_role_name: settings.task_role_name,
            task_execution_role_name: settings.task_execution_role_name,
            user: manner.user,
            stop_signal: manner.stop_signal.map(|signal| signal.as_str().to_owned()),
            networks: manner.networks,
            read_only: manner.read_only,
            created_by: image.created_by,
            owned_by: image.owned_by,
            created_at: image.created_at,
            created_by_request_id: image.created_by_request_id,
            modified_by_request_id: image.modified_by_request_id,
        }
    }
}

/// Letters, digits, and dashes for everything else.
fn task_definition_name(name: &str, tag: &str) -> String {
    let whole = format!("{name}-{tag}");
    whole.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
}

/// `GET /images`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct ImagesAnswer {
    /// Every image, by id.
    pub images: Vec<ImageData>,
}
