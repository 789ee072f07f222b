use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use runvoy_core::images::{Image, ImageAnswer, ImageCommand, ImageId, step};
use runvoy_core::port::{ImageRegistry, StoreError};

/// Images that are registered as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryImageRegistry(Mutex<BTreeMap<ImageId, Image>>);

impl MemoryImageRegistry {
    /// One without images.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl ImageRegistry for MemoryImageRegistry {
    async fn command(&self, command: ImageCommand) -> Result<ImageAnswer, StoreError> {
        Ok(step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), &command))
    }

    async fn list(&self) -> Result<Arc<[Image]>, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }
}
