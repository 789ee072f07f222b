//! What is stored of an execution, as it may start now: images change while it waits.

use super::images::{NO_DEFAULT, check_network, settle};
use super::{Error, Runvoy};
use crate::execution::{Execution, StartRequest};
use crate::id::ExecutionId;
use crate::images::Image;
use crate::port::{Refusal, Refused};

/// What became of what an execution was to be started with.
pub(crate) enum Stored {
    /// It can be.
    Fit(Box<StartRequest>),
    /// Its image is gone, or may no longer be where it was to be.
    Unfit(Refusal),
    /// There is none: the execution has ended.
    Gone,
}

impl Runvoy {
    /// Starts an execution with what is stored of it. Does not free its lock, if it cannot be started.
    pub(crate) async fn start_stored(&self, record: &Execution) -> Result<Execution, Error> {
        match self.stored(record).await? {
            Stored::Fit(request) => self.start(record, *request).await,
            Stored::Unfit(refusal) => self.give_up_start(record.id, &refusal).await,
            Stored::Gone => self.get_record(record.id).await,
        }
    }

    /// What is stored of an execution, in its image as that is registered now. Where it was accepted without one, by
    /// a server that had none, the default image is its own.
    pub(crate) async fn stored(&self, record: &Execution) -> Result<Stored, Error> {
        let Some(mut request) = self.stored_request(record.id).await? else { return Ok(Stored::Gone) };
        if !self.inner.executor.capabilities().images {
            return Ok(Stored::Fit(Box::new(request)));
        }
        let images = self.known_images().await?;
        let image = match &record.image_id {
            Some(id) => images.iter().find(|image| image.id.as_str() == id),
            None => images.iter().find(|image| image.is_default),
        };
        let fit = match image {
            Some(image) => refit(&mut request, image),
            None => Err(no_longer(&request)),
        };
        Ok(match fit {
            Ok(()) => Stored::Fit(Box::new(request)),
            Err(message) => Stored::Unfit(Refusal { of: Refused::Image, message }),
        })
    }

    async fn stored_request(&self, id: ExecutionId) -> Result<Option<StartRequest>, Error> {
        self.inner.executions.request(id).await.map_err(Error::store("the execution store"))
    }
}

/// Puts an image in the place of what was known of it. The error is in words.
fn refit(request: &mut StartRequest, image: &Image) -> Result<(), String> {
    let asked = request.asked.network.take();
    check_network(image, asked.as_ref())?;
    // What it was given stays, while it may.
    let given = request.container.network.take().filter(|given| image.manner.networks.contains(given));
    settle(request, image, asked.or(given));
    Ok(())
}

fn no_longer(request: &StartRequest) -> String {
    match &request.container.image {
        Some(image) => {
            format!(
                "the image `{image}` is no longer registered; `runvoy images register {image}` adds it again"
            )
        }
        None => format!("it was accepted without an image, which {NO_DEFAULT}"),
    }
}
