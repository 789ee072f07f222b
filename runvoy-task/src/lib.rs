#![doc = include_str!("../README.md")]

pub mod block;
pub mod checkout;
mod end;
mod gate;
pub mod layout;
pub mod links;
mod spec;
mod stop;
mod workspace;

pub use end::{EndReason, EndRecord, PhaseTiming};
pub use gate::{AgentProcess, Gate, GateState};
pub use spec::{CommandLine, Isolation, RunAs, TaskSpec};
pub use stop::StopRequest;
pub use workspace::{GitWorkspace, Network, Secret, UploadWorkspace, Workspace};

/// The version that this crate writes. 2 added workspaces: an agent of version 1 refuses a spec that may have one.
pub const FORMAT_VERSION: u32 = 2;

/// The oldest version that this crate reads.
pub const OLDEST_READABLE_VERSION: u32 = 1;

/// Why a document of these formats could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are not JSON of the expected shape.
    #[error("malformed {what}, at line {line}, column {column}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// Where; the parser's own words may hold a value.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The document is of a version that this reader does not know.
    #[error(
        "{what} has format version {version}, this program reads {OLDEST_READABLE_VERSION} to {FORMAT_VERSION}"
    )]
    Version {
        /// Which document.
        what: &'static str,
        /// The version that it carries.
        version: u32,
    },
}

/// Reads a versioned JSON document.
fn from_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    version: impl Fn(&T) -> u32,
) -> Result<T, FormatError> {
    let value: T = serde_json::from_slice(bytes).map_err(|error| FormatError::Malformed {
        what,
        line: error.line(),
        column: error.column(),
    })?;
    match version(&value) {
        OLDEST_READABLE_VERSION..=FORMAT_VERSION => Ok(value),
        version => Err(FormatError::Version { what, version }),
    }
}
