use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::images::{Image, ImageAnswer, ImageCommand};

/// Registered images.
///
/// # Contract
///
/// - What a command does is [`crate::images::step`] and nothing else, over all images at once and atomically: so of any
///   number of commands at once each sees what the one before left, and there is one default at most.
/// - An answer means durable, and is visible to the next [`list`](Self::list), wherever that is asked.
/// - A registry that cannot be reached answers [`StoreError::Unavailable`], never "no such image".
#[async_trait]
pub trait ImageRegistry: Send + Sync + 'static {
    /// Does what is asked.
    async fn command(&self, command: ImageCommand) -> Result<ImageAnswer, StoreError>;

    /// Every image, by id: at most [`crate::limits::IMAGES`].
    async fn list(&self) -> Result<Arc<[Image]>, StoreError>;
}
