use std::sync::Arc;

use runvoy_core::port::{BoxError, StoreError};
use rusqlite::ErrorCode;

/// Whatever goes wrong here, before it is said in the words of a port.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// What the port itself has a word for: the operation's own answer.
    #[error(transparent)]
    Answer(StoreError),
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The commit failed, and with it everything in it.
    #[error("SQLite could not commit: {0}")]
    Commit(Arc<rusqlite::Error>),
    #[error("a stored value cannot be read: {0}")]
    Unreadable(BoxError),
    #[error("the random generator failed: {0}")]
    Random(#[from] getrandom::Error),
    #[error("a stored value cannot be unsealed: it was changed, or sealed with another master key")]
    Unseal,
    #[error("the operation panicked; it was undone")]
    Panicked,
    #[error("the database is closed")]
    Closed,
}

impl Failure {
    pub(super) fn unreadable(source: impl Into<BoxError>) -> Self {
        Self::Unreadable(source.into())
    }

    /// Whether the same request may succeed later, once there is room or another has let go.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Sqlite(error) => may_pass(error),
            Self::Commit(error) => may_pass(error),
            Self::Random(_) => true,
            Self::Answer(_) | Self::Unreadable(_) | Self::Unseal | Self::Panicked | Self::Closed => false,
        }
    }
}

fn may_pass(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
        )
    )
}

impl From<StoreError> for Failure {
    fn from(answer: StoreError) -> Self {
        Self::Answer(answer)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answer(answer) => answer,
            other => Self::Unavailable { retryable: other.is_retryable(), source: other.into() },
        }
    }
}
