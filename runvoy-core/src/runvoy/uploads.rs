//! Uploaded code: who may bring it, what is taken, and how long it stays.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::SignedDuration;

use super::{Caller, Error, Runvoy};
use crate::code::{Code, CodeDigest, UploadedCode};
use crate::limits;
use crate::port::{Action, CodeBody, CodeError, CodeStore, Resource, StoreError};

/// What is said where there is no store.
const NO_STORE: &str = "this server keeps no uploaded code";

// Whoever waits for a lock as long as may be still finds the code.
const _: () =
    assert!(limits::CODE_KEPT.as_secs() > limits::MAX_WAIT.as_secs() + limits::START_TIMEOUT.as_secs());

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// It is kept now.
    Kept,
    /// It was there before.
    WasThere,
}

/// An archive that the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// What names it.
    pub digest: CodeDigest,
    /// Its bytes.
    pub size: u64,
    /// Whether it was there before.
    pub outcome: UploadOutcome,
}

impl Runvoy {
    /// The bytes of an archive that is there. It is not removed for as long as a run that names it may wait.
    pub async fn uploaded_code(&self, caller: &Caller, digest: &str) -> Result<u64, Error> {
        self.authorize(caller, Action::UploadCode, Resource::System, None).await?;
        let digest: CodeDigest = digest.parse().map_err(Error::parse("sha256"))?;
        let found = self.code_store()?.find(digest, self.inner.clock.now()).await;
        let missing = || Error::NotFound { what: format!("code {digest}") };
        found.map_err(Error::store("the code store"))?.ok_or_else(missing)
    }

    /// Takes an archive, which is recorded before a byte of it is kept. `length` is what the sender says of its size.
    pub async fn upload_code(
        &self,
        caller: &Caller,
        digest: &str,
        length: Option<u64>,
        body: CodeBody,
    ) -> Result<Uploaded, Error> {
        let granted = self.authorize(caller, Action::UploadCode, Resource::System, None).await?;
        let digest: CodeDigest = digest.parse().map_err(Error::parse("sha256"))?;
        if let Some(length) = length.filter(|length| *length > limits::CODE_BYTES) {
            return Err(too_large(&length.to_string()));
        }
        let (store, now) = (self.code_store()?, self.inner.clock.now());
        let Ok(_place) = self.inner.uploads.try_acquire() else {
            let most = limits::UPLOADS;
            return Err(Error::Busy {
                message: format!("{most} uploads are under way, which is the limit; try again"),
            });
        };
        if let Some(size) = store.find(digest, now).await.map_err(Error::store("the code store"))? {
            read_to_the_end(body).await?;
            return Ok(Uploaded { digest, size, outcome: UploadOutcome::WasThere });
        }
        self.record(granted, None, Some(&format!("code {digest}"))).await?;
        let put = store.put(digest, body, limits::CODE_BYTES, now);
        let size = tokio::time::timeout(limits::UPLOAD_TIMEOUT, put).await.unwrap_or_else(|_| {
            let source = format!("it took longer than {} s", limits::UPLOAD_TIMEOUT.as_secs()).into();
            Err(CodeError::BrokenOff { source })
        });
        Ok(Uploaded { digest, size: size?, outcome: UploadOutcome::Kept })
    }

    /// Looks for the code that a run names, and notes how much that is. Whoever waits for a lock finds it later, too.
    pub(super) async fn find_code(&self, code: &mut Option<Code>) -> Result<(), Error> {
        let Some(Code::Upload(upload)) = code else { return Ok(()) };
        let Some(store) = &self.inner.code else { return Err(Error::invalid("code", NO_STORE)) };
        let found = store.find(upload.digest, self.inner.clock.now()).await;
        let found = found.map_err(Error::store("the code store"))?;
        upload.size = found.ok_or_else(|| Error::invalid("code", not_there(upload.digest)))?;
        Ok(())
    }

    /// Why the code of a run that starts now cannot be had, if it is gone.
    pub(super) async fn missing_code(&self, code: Option<&Code>) -> Result<Option<String>, Error> {
        let (Some(Code::Upload(UploadedCode { digest, .. })), Some(store)) = (code, &self.inner.code) else {
            return Ok(None);
        };
        let found = store.find(*digest, self.inner.clock.now()).await;
        let found = found.map_err(Error::store("the code store"))?;
        Ok(found.is_none().then(|| not_there(*digest)))
    }

    /// A run could not be prepared, which may be the fault of its code: whoever brings the same code next is asked for it again if
    /// it is damaged. Known before the end is, and never in its way.
    pub(super) async fn doubt_code(&self, code: Option<&Code>) {
        let (Some(Code::Upload(upload)), Some(store)) = (code, &self.inner.code) else { return };
        if let Err(error) = store.doubt(upload.digest).await {
            tracing::warn!(digest = %upload.digest, error = %super::error_chain(&error), "uploaded code not looked at");
        }
    }

    /// Removes the code that nobody used for longer than any run may wait for its turn.
    pub(super) async fn remove_unused_code(&self) -> Result<(), Error> {
        let Some(store) = &self.inner.code else { return Ok(()) };
        let kept = SignedDuration::try_from(limits::CODE_KEPT).unwrap_or(SignedDuration::MAX);
        let before = self.inner.clock.now().saturating_sub(kept).unwrap_or(jiff::Timestamp::MIN);
        for digest in store.remove_unused(before).await.map_err(Error::store("the code store"))? {
            tracing::info!(%digest, "uploaded code removed: nobody used it");
        }
        Ok(())
    }

    fn code_store(&self) -> Result<&dyn CodeStore, Error> {
        self.inner.code.as_deref().ok_or_else(|| Error::invalid("code", NO_STORE))
    }
}

/// A sender that is told "it is there" before it has sent everything may take that for a failure.
async fn read_to_the_end(mut body: CodeBody) -> Result<(), Error> {
    let read = async {
        let mut left = limits::CODE_BYTES;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| CodeError::BrokenOff { source })?;
            left = left.checked_sub(piece.len() as u64).ok_or(CodeError::TooLarge { limit: left })?;
        }
        Ok::<_, CodeError>(())
    };
    match tokio::time::timeout(limits::UPLOAD_TIMEOUT, read).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(CodeError::BrokenOff { source: "it took too long".into() }.into()),
    }
}

fn not_there(digest: CodeDigest) -> String {
    format!("the server does not have {}, or no longer; upload it again", digest.short())
}

fn too_large(size: &str) -> Error {
    Error::invalid("body", format!("at most {} bytes, this is {size}", limits::CODE_BYTES))
}

impl From<CodeError> for Error {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::OtherBytes { found, .. } => Self::invalid(
                "sha256",
                format!("the bytes that came are those of {found}; they changed on their way, or meanwhile"),
            ),
            CodeError::TooLarge { .. } => too_large("more"),
            CodeError::BrokenOff { source } => Self::invalid("body", format!("it broke off: {source}")),
            CodeError::NoRoom { message } => Self::Busy { message },
            CodeError::Store(error @ StoreError::Unavailable { .. }) => {
                Self::Unavailable { what: "the code store", source: Box::new(error) }
            }
            CodeError::Store(other) => {
                Self::Internal { what: "a store refused a correct request", source: Box::new(other) }
            }
        }
    }
}

/// Time between two looks for code that nobody uses.
pub(super) const LOOK_EVERY: Duration = Duration::from_hours(1);
