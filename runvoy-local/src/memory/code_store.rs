use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use runvoy_core::code::{CodeDigest, CodeHasher};
use runvoy_core::port::{CodeBody, CodeError, CodeStore, StoreError};

/// An archive.
#[derive(Debug)]
struct Archive {
    bytes: Bytes,
    used: Timestamp,
}

/// Uploaded code that is kept as long as the process lives, all of it in memory.
#[derive(Debug, Default)]
pub struct MemoryCodeStore(Mutex<HashMap<CodeDigest, Archive>>);

impl MemoryCodeStore {
    /// One without archives.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of an archive.
    pub fn read(&self, digest: CodeDigest) -> Option<Bytes> {
        self.archives().get(&digest).map(|archive| archive.bytes.clone())
    }

    fn archives(&self) -> MutexGuard<'_, HashMap<CodeDigest, Archive>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CodeStore for MemoryCodeStore {
    async fn find(&self, digest: CodeDigest, now: Timestamp) -> Result<Option<u64>, StoreError> {
        Ok(self.archives().get_mut(&digest).map(|archive| {
            archive.used = archive.used.max(now);
            archive.bytes.len() as u64
        }))
    }

    async fn put(
        &self,
        digest: CodeDigest,
        mut body: CodeBody,
        limit: u64,
        now: Timestamp,
    ) -> Result<u64, CodeError> {
        let (mut bytes, mut hasher) = (Vec::new(), CodeHasher::default());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| CodeError::BrokenOff { source })?;
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(CodeError::TooLarge { limit });
            }
        }
        let found = hasher.finish();
        if found != digest {
            return Err(CodeError::OtherBytes { wanted: digest, found });
        }
        let mut archives = self.archives();
        let bytes = Bytes::from(bytes);
        let archive = archives.entry(digest).or_insert_with(|| Archive { bytes, used: now });
        archive.used = archive.used.max(now);
        Ok(archive.bytes.len() as u64)
    }

    async fn doubt(&self, _digest: CodeDigest) -> Result<(), StoreError> {
        // Nobody but this process gets at the bytes.
        Ok(())
    }

    async fn remove_unused(&self, before: Timestamp) -> Result<Vec<CodeDigest>, StoreError> {
        let mut archives = self.archives();
        let unused = archives.iter().filter(|(_, archive)| archive.used < before);
        let unused: Vec<_> = unused.map(|(digest, _)| *digest).collect();
        for digest in &unused {
            archives.remove(digest);
        }
        Ok(unused)
    }
}
