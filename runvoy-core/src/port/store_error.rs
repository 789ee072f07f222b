/// A backend's own error, kept as the source of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong in a store. Each variant is a decision that the caller can take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something is there already that must not be overwritten.
    #[error("{what} exists already")]
    Conflict {
        /// What is there.
        what: String,
    },
    /// There is no such thing.
    #[error("{what} is not there")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// The request itself is wrong; repeating it does not help.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// The backend's reason, where it has one.
        source: Option<BoxError>,
    },
    /// A rule of the port forbids it, as things are.
    #[error("{why}")]
    Refused {
        /// Which rule, and what to do about it.
        why: String,
    },
    /// The store did not answer, or could not do it now.
    #[error("the store is not available")]
    Unavailable {
        /// Whether the same request may succeed later.
        retryable: bool,
        /// The backend's reason.
        source: BoxError,
    },
}

impl StoreError {
    /// A request that may succeed later.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { retryable: true, source: source.into() }
    }

    /// Something that is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// Something that a rule of the port forbids.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// Something that is there already.
    pub fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }
}
