//! Images: which there are, and which one a run gets.

use std::sync::Arc;

use super::{Caller, Error, RequestContext, Runvoy, validate};
use crate::api::{ChangeImageRequest, RegisterImageRequest};
use crate::execution::{Container, StartRequest};
use crate::id::{Email, RequestId};
use crate::images::{
    Image, ImageAnswer, ImageCommand, ImageId, ImageManner, ImageReference, ImageSettings, find,
};
use crate::limits;
use crate::port::{Action, AuditEvent, AuditKind, ImageRegistry, Resource};

/// What is said where there is no registry.
const NO_REGISTRY: &str = "this server has no image registry";
/// What is said where there is no default.
pub(super) const NO_DEFAULT: &str =
    "is required: there is no default image; `runvoy images register IMAGE --set-default` makes one";

impl Runvoy {
    /// Every image, by id.
    pub async fn images(&self, caller: &Caller) -> Result<Arc<[Image]>, Error> {
        self.authorize(caller, Action::ListImages, Resource::System, None).await?;
        self.known_images().await
    }

    /// The image that a text means: an id, what it was registered as, or the same name and tag.
    pub async fn image(&self, caller: &Caller, text: &str) -> Result<Image, Error> {
        let images = self.known_images().await?;
        let found = find(&images, text);
        self.authorize(caller, Action::ReadImage, resource(found, text), None).await?;
        found.cloned().ok_or_else(|| no_image(text))
    }

    /// Registers an image. Nothing is fetched: whether it can be had shows when a command runs in it.
    pub async fn register_image(
        &self,
        caller: &Caller,
        request: &RegisterImageRequest,
    ) -> Result<Image, Error> {
        let granted = self.authorize(caller, Action::RegisterImage, of_name(&request.image), None).await?;
        let (settings, change) = validate::image(request)?;
        let image = self.new_image(&request.image, settings, &caller.user, caller.context.request_id)?;
        let known = self.known_images().await?;
        if let Some(known) = known.iter().find(|known| known.id == image.id) {
            // To register it again is to change it, which may be for its owners only.
            self.authorize(caller, Action::RegisterImage, resource(Some(known), ""), None).await?;
        }
        self.record(granted, None, Some(image.id.as_str())).await?;
        self.tell_registry(ImageCommand::Register { image: Box::new(image), change }).await
    }

    /// Changes how commands run in an image.
    pub async fn change_image(
        &self,
        caller: &Caller,
        id: &str,
        request: &ChangeImageRequest,
    ) -> Result<Image, Error> {
        let (id, granted) = self.known_by_id(caller, Action::RegisterImage, id).await?;
        let change = validate::image_change(request)?;
        self.record_image(granted, &id).await?;
        let request = caller.context.request_id;
        self.tell_registry(ImageCommand::Change { id, change, request }).await
    }

    /// Removes an image. What runs in it goes on.
    pub async fn remove_image(&self, caller: &Caller, id: &str) -> Result<Image, Error> {
        let (id, granted) = self.known_by_id(caller, Action::DeleteImage, id).await?;
        self.record_image(granted, &id).await?;
        self.tell_registry(ImageCommand::Remove(id)).await
    }

    /// Registers an image without limits as the default, if there is none at all; says whether it did.
    pub async fn bootstrap_image(&self, image: &str, owner: &Email) -> Result<bool, Error> {
        let request_id = RequestContext::internal().request_id;
        let new = self.new_image(image, ImageSettings::default(), owner, request_id)?;
        let (id, at) = (new.id.clone(), new.created_at);
        if !self.known_images().await?.is_empty() {
            return Ok(false);
        }
        self.append(AuditEvent {
            at,
            request_id,
            user: owner.clone(),
            address: None,
            kind: AuditKind::Allowed,
            action: "bootstrap_image".to_owned(),
            resource: of_name(image).to_string(),
            policy: None,
            detail: Some(id.to_string()),
        })
        .await?;
        let done = self.registry()?.command(ImageCommand::Bootstrap(Box::new(new))).await;
        Ok(matches!(done.map_err(Error::store("the image registry"))?, ImageAnswer::Done(_)))
    }

    /// Fails for a caller who may not do this to images, as far as that can be told without saying to which.
    pub async fn check_images(&self, caller: &Caller, action: Action) -> Result<(), Error> {
        self.authorize(caller, action, of_name(""), None).await.map(drop)
    }

    /// The image that a run gets: the one it names, else the default one.
    pub(crate) async fn image_of_run(&self, asked: Option<&str>) -> Result<Image, Error> {
        let images = self.known_images().await?;
        let found = match asked {
            Some(text) => find(&images, text),
            None => images.iter().find(|image| image.is_default),
        };
        found.cloned().ok_or_else(|| match asked {
            _ if self.inner.images.is_none() => Error::invalid("image", NO_REGISTRY),
            Some(text) => Error::invalid(
                "image",
                format!("`{text}` is not registered; `runvoy images list` shows what is, `runvoy images register` adds it"),
            ),
            None => Error::invalid("image", NO_DEFAULT),
        })
    }

    pub(super) async fn known_images(&self) -> Result<Arc<[Image]>, Error> {
        match &self.inner.images {
            Some(registry) => registry.list().await.map_err(Error::store("the image registry")),
            None => Ok(Arc::new([])),
        }
    }

    fn registry(&self) -> Result<&dyn ImageRegistry, Error> {
        self.inner.images.as_deref().ok_or_else(|| Error::invalid("image", NO_REGISTRY))
    }

    fn new_image(
        &self,
        image: &str,
        settings: ImageSettings,
        owner: &Email,
        request_id: RequestId,
    ) -> Result<Image, Error> {
        let reference: ImageReference = image.parse().map_err(Error::parse("image"))?;
        Ok(Image {
            id: ImageId::new(&reference, image, &settings),
            image: image.to_owned(),
            settings,
            manner: ImageManner::default(),
            is_default: false,
            created_by: owner.clone(),
            owned_by: vec![owner.clone()],
            created_at: self.inner.clock.now(),
            created_by_request_id: request_id,
            modified_by_request_id: request_id,
        })
    }

    /// The image of an id, for somebody who may do that to it.
    async fn known_by_id(
        &self,
        caller: &Caller,
        action: Action,
        text: &str,
    ) -> Result<(ImageId, super::access::Granted), Error> {
        let images = self.known_images().await?;
        let found = images.iter().find(|image| image.id.as_str() == text);
        let granted = self.authorize(caller, action, resource(found, text), None).await?;
        let id: ImageId = text.parse().map_err(Error::parse("image"))?;
        if found.is_none() {
            return Err(no_image(text));
        }
        Ok((id, granted))
    }

    async fn record_image(&self, granted: super::access::Granted, id: &ImageId) -> Result<(), Error> {
        self.record(granted, None, Some(id.as_str())).await
    }

    async fn tell_registry(&self, command: ImageCommand) -> Result<Image, Error> {
        let this = self.clone();
        self.although_the_caller_goes(async move {
            let done = this.registry()?.command(command).await;
            match done.map_err(Error::store("the image registry"))? {
                ImageAnswer::Done(image) => Ok(*image),
                ImageAnswer::Absent | ImageAnswer::Present => {
                    Err(Error::NotFound { what: "image".to_owned() })
                }
                ImageAnswer::Full => {
                    let message =
                        format!("{} images are registered, which is the limit; remove some", limits::IMAGES);
                    Err(Error::Conflict { message })
                }
            }
        })
        .await
    }
}

fn not_allowed(image: &Image, network: &str) -> String {
    let (id, networks) = (&image.id, &image.manner.networks);
    let allowed = if networks.is_empty() {
        "the executor's own network alone".to_owned()
    } else {
        format!("one of these: {}", networks.join(", "))
    };
    format!(
        "`{}` may be in {allowed}; `runvoy images update {id} --network {network}` allows `{network}` instead",
        image.image
    )
}

/// Puts the image of a run, and what is registered of it, into the run's request. It may be in the network that was
/// asked for: see [`check_network`].
pub(super) fn settle(start: &mut StartRequest, image: &Image, network: Option<String>) {
    let ImageSettings { cpu, memory, platform, .. } = &image.settings;
    let ImageManner { user, stop_signal, networks, read_only } = &image.manner;
    let limit = |value: u64| (value > 0).then_some(value);
    start.asked.network.clone_from(&network);
    start.container = Container {
        image: Some(image.image.clone()),
        cpu: start.container.cpu.or_else(|| limit(*cpu)),
        memory: start.container.memory.or_else(|| limit(*memory)),
        platform: platform.as_ref().map(ToString::to_string),
        user: user.clone(),
        stop_signal: stop_signal.clone(),
        network: network.or_else(|| networks.first().cloned()),
        read_only: *read_only,
    };
    start.asked.image = Some(image.image.clone());
    start.asked.image_owners.clone_from(&image.owned_by);
}

/// Whether an image may be in a network that was asked for; if not, why.
pub(super) fn check_network(image: &Image, network: Option<&String>) -> Result<(), String> {
    match network {
        Some(name) if !image.manner.networks.contains(name) => Err(not_allowed(image, name)),
        _ => Ok(()),
    }
}

fn of_name(name: &str) -> Resource<'_> {
    Resource::Image { name, owners: &[] }
}

/// An image as policies see it, or what somebody calls one that is not there.
fn resource<'a>(found: Option<&'a Image>, text: &'a str) -> Resource<'a> {
    found.map_or_else(
        || of_name(text),
        |image| Resource::Image { name: &image.image, owners: &image.owned_by },
    )
}

fn no_image(text: &str) -> Error {
    Error::NotFound { what: format!("image {text}") }
}
