use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::{BoxError, StoreError};
use crate::code::CodeDigest;

/// The bytes of an archive as they come; an error is the sender's.
pub type CodeBody = BoxStream<'static, Result<Bytes, BoxError>>;

/// What can go wrong with an upload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The bytes are not those that the digest names.
    #[error("the bytes are those of {found}, not of {wanted}")]
    OtherBytes {
        /// What was announced.
        wanted: CodeDigest,
        /// What came.
        found: CodeDigest,
    },
    /// There are more of them than may be.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// How many may be.
        limit: u64,
    },
    /// They broke off.
    #[error("the upload broke off")]
    BrokenOff {
        /// The sender's reason.
        source: BoxError,
    },
    /// There is no room.
    #[error("{message}")]
    NoRoom {
        /// Where, and what to do about it.
        message: String,
    },
    /// The store did not answer, or could not do it now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Uploaded code: archives, each under the digest of its bytes.
///
/// # Contract
///
/// - An archive is there whole and durably, or not at all: whatever breaks off or crashes, nobody finds a part of one, and
///   nothing else than the bytes of its digest.
/// - An archive never changes. The same once more, also at once, is the same, and no error.
/// - An archive that was [doubted](Self::doubt) is found only if its bytes are still those of its digest; else it is gone, as
///   one that was never there, and may be put again.
/// - No archive is held in memory as a whole, save by a store that keeps all of it there.
/// - [`find`](Self::find) and [`put`](Self::put) are uses. What was used at a time or after it is not removed by
///   [`remove_unused`](Self::remove_unused) of that time, also if both happen at once.
/// - A store that cannot be reached answers [`StoreError::Unavailable`], never "not there".
#[async_trait]
pub trait CodeStore: Send + Sync + 'static {
    /// The bytes of an archive that is there, which is used `now`.
    async fn find(&self, digest: CodeDigest, now: Timestamp) -> Result<Option<u64>, StoreError>;

    /// Takes an archive of at most `limit` bytes; answers how many it has. A dropped future leaves nothing, or the whole.
    async fn put(
        &self,
        digest: CodeDigest,
        body: CodeBody,
        limit: u64,
        now: Timestamp,
    ) -> Result<u64, CodeError>;

    /// Takes note that somebody could not use an archive: whoever asks for it from now on is answered from its bytes. Reads none
    /// of them itself, and may forget what it was told when the store is opened anew. No use, and no error for what is not
    /// there.
    async fn doubt(&self, digest: CodeDigest) -> Result<(), StoreError>;

    /// Removes every archive that was last used before; answers which.
    async fn remove_unused(&self, before: Timestamp) -> Result<Vec<CodeDigest>, StoreError>;
}
