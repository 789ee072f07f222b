use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Image, ImageId, ImageReference};
use crate::execution::StopSignal;
use crate::id::RequestId;
use crate::limits;

/// What is asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageCommand {
    /// Registers an image. One that is there with the same id is changed by what is named, and else stays as it is.
    Register {
        /// The image; whether it is the default is not its own matter.
        image: Box<Image>,
        /// What was named.
        change: ImageChange,
    },
    /// Registers an image as the default, if there is none at all.
    Bootstrap(Box<Image>),
    /// Changes an image.
    Change {
        /// Which.
        id: ImageId,
        /// What of it.
        change: ImageChange,
        /// On whose behalf.
        request: RequestId,
    },
    /// Removes an image.
    Remove(ImageId),
}

/// What is to be otherwise; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageChange {
    /// Whether it is the default.
    pub is_default: Option<bool>,
    /// Who commands run as; empty for the image's own user.
    pub user: Option<String>,
    /// What asks them to end; `Some(None)` for the image's own signal.
    pub stop_signal: Option<Option<StopSignal>>,
    /// The networks that they may be in.
    pub networks: Option<Vec<String>>,
    /// Whether their root file system is read-only.
    pub read_only: Option<bool>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageAnswer {
    /// Done: the image as it is now, or as it was when it was removed.
    Done(Box<Image>),
    /// There is no such image.
    Absent,
    /// There are as many as there may be.
    Full,
    /// There are images already.
    Present,
}

/// Does what is asked of all the images of a registry. There is one default at most.
///
/// The first image becomes the default, unless it is not to be.
pub fn step(images: &mut BTreeMap<ImageId, Image>, command: &ImageCommand) -> ImageAnswer {
    match command {
        ImageCommand::Register { image, change } => register(images, image, change),
        ImageCommand::Bootstrap(_) if !images.is_empty() => ImageAnswer::Present,
        ImageCommand::Bootstrap(image) => register(images, image, &ImageChange::default()),
        ImageCommand::Change { id, change, request } => {
            let Some(image) = images.get_mut(id) else { return ImageAnswer::Absent };
            image.modified_by_request_id = *request;
            apply(images, id, change)
        }
        ImageCommand::Remove(id) => {
            images.remove(id).map_or(ImageAnswer::Absent, |image| ImageAnswer::Done(Box::new(image)))
        }
    }
}

fn register(images: &mut BTreeMap<ImageId, Image>, image: &Image, change: &ImageChange) -> ImageAnswer {
    let is_first = images.is_empty();
    if let Some(known) = images.get_mut(&image.id) {
        known.modified_by_request_id = image.modified_by_request_id;
    } else if images.len() >= limits::IMAGES {
        return ImageAnswer::Full;
    } else {
        images.insert(image.id.clone(), Image { is_default: is_first, ..image.clone() });
    }
    apply(images, &image.id, change)
}

fn apply(images: &mut BTreeMap<ImageId, Image>, id: &ImageId, change: &ImageChange) -> ImageAnswer {
    if change.is_default == Some(true) {
        for image in images.values_mut() {
            image.is_default = false;
        }
    }
    let Some(image) = images.get_mut(id) else { return ImageAnswer::Absent };
    image.is_default = change.is_default.unwrap_or(image.is_default);
    let manner = &mut image.manner;
    if let Some(user) = &change.user {
        manner.user = Some(user.clone()).filter(|user| !user.is_empty());
    }
    if let Some(signal) = &change.stop_signal {
        manner.stop_signal.clone_from(signal);
    }
    if let Some(networks) = &change.networks {
        manner.networks.clone_from(networks);
    }
    manner.read_only = change.read_only.unwrap_or(manner.read_only);
    ImageAnswer::Done(Box::new(image.clone()))
}

/// Whether a text is an image's id: a dash and 8 hex digits at its end, and a colon before them.
pub fn is_id(text: &str) -> bool {
    let Some((before, hash)) = text.rsplit_once('-') else { return false };
    before.contains(':') && hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The image that a text means: an id, what it was registered as, or the same name and tag in whatever registry. Of
/// several the default one, else the newest.
pub fn find<'a>(images: &'a [Image], text: &str) -> Option<&'a Image> {
    if let Some(image) = images.iter().find(|image| image.id.as_str() == text) {
        return Some(image);
    }
    let best = |candidates: Vec<&'a Image>| {
        candidates.into_iter().max_by_key(|image| (image.is_default, image.created_at, &image.id))
    };
    best(images.iter().filter(|image| image.image == text).collect()).or_else(|| {
        let wanted: ImageReference = text.parse().ok()?;
        let is_meant =
            |image: &&Image| image.image.parse::<ImageReference>().is_ok_and(|known| known.is_same(&wanted));
        best(images.iter().filter(is_meant).collect())
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::images::{ImageManner, ImageSettings};

    fn image(name: &str, cpu: u64, second: i64) -> Image {
        let settings = ImageSettings { cpu, ..ImageSettings::default() };
        Image {
            id: ImageId::new(&name.parse().unwrap(), name, &settings),
            image: name.to_owned(),
            settings,
            manner: ImageManner::default(),
            is_default: false,
            created_by: "ops@acme.test".parse().unwrap(),
            owned_by: Vec::new(),
            created_at: Timestamp::from_second(second).unwrap(),
            created_by_request_id: RequestId::from_u128(1),
            modified_by_request_id: RequestId::from_u128(1),
        }
    }

    #[test]
    fn an_id_is_told_from_a_reference() {
        assert!(is_id("golang:1.25-1a2b3c4d") && is_id("org/a:b-00000000"));
        for text in ["golang:1.25", "golang-1a2b3c4d", "golang:1.25-1a2b3c4", "golang:1.25-1a2b3c4g", ""] {
            assert!(!is_id(text), "{text}");
        }
        assert!(is_id(image("host:1/org/a@sha256:0123456789abcdef0123456789abcdef", 1, 0).id.as_str()));
    }

    #[test]
    fn a_reference_means_its_default_variant_else_the_newest() {
        let mut images = [image("golang:1", 1, 9), image("golang:1", 2, 5), image("ghcr.io/golang:1", 1, 20)];
        let found = |images: &[Image], text: &str| {
            find(images, text).map(|image| (image.image.clone(), image.settings.cpu))
        };
        assert_eq!(found(&images, "golang:1"), Some(("golang:1".to_owned(), 1)));
        assert_eq!(found(&images, "quay.io/golang:1"), Some(("ghcr.io/golang:1".to_owned(), 1)));
        assert_eq!(found(&images, images[1].id.as_str()), Some(("golang:1".to_owned(), 2)));
        assert_eq!((found(&images, "golang"), found(&images, "")), (None, None));
        images[1].is_default = true;
        assert_eq!(found(&images, "golang:1"), Some(("golang:1".to_owned(), 2)));
        assert_eq!(found(&images, "docker.io/golang:1"), Some(("golang:1".to_owned(), 2)));
    }

    #[test]
    fn an_id_stands_for_the_settings() {
        let ids: Vec<_> =
            [image("a:1", 1, 0), image("a:1", 2, 0), image("x.io/a:1", 1, 0)].map(|image| image.id).into();
        assert!(ids.iter().all(|id| id.as_str().starts_with("a:1-")), "{ids:?}");
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
        assert_eq!(ids[0], image("a:1", 1, 7).id);
    }
}
