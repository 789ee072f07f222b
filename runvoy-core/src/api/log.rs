use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ExecutionId;
use crate::log::{Cursor, LogEvent, Stream};
use crate::state::{Reason, Status};

/// `GET /executions/{id}/logs` without parameters, in the shape that existing clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LogsAnswer {
    /// The execution.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub execution_id: ExecutionId,
    /// Every event once the execution ends; `null` while it is live.
    pub events: Option<Vec<LogEvent>>,
    /// Where it is in its life.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// While it is live: where its log is followed. The token in it is new with every answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_url: Option<WebsocketUrl>,
}

/// The address of a WebSocket, with a token in it: whoever has it reads the log. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct WebsocketUrl(String);

impl WebsocketUrl {
    /// Takes an address as it is.
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The address itself, for who opens it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebsocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebsocketUrl(..)")
    }
}

/// The last frame of a WebSocket whose execution has ended, in the shape that existing clients know. All others are
/// [`LogEvent`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct DisconnectFrame {
    /// `disconnect`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `execution_completed`.
    pub reason: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: EndData,
}

impl DisconnectFrame {
    /// The frame of an execution that has ended.
    pub fn new(end: EndData) -> Self {
        Self { kind: "disconnect".to_owned(), reason: "execution_completed".to_owned(), end }
    }
}

/// `GET /executions/{id}/logs` with `after`, `limit`, `tail` or `wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LogPageAnswer {
    /// The events after the cursor, in order.
    pub events: Vec<LogEvent>,
    /// The cursor to ask with next.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub next: Cursor,
    /// Whether the execution has ended, everything was read, and nothing is missing.
    pub complete: bool,
    /// Set when the execution has ended and everything that there is was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndData>,
}

/// Names of the events of `GET /executions/{id}/logs/stream`.
pub mod sse {
    /// The status changed: [`super::StatusData`].
    pub const STATUS: &str = "status";
    /// One line: [`crate::log::LogEvent`]. Its `id:` is the cursor after it.
    pub const LOG: &str = "log";
    /// A run of lines of one stream, for `format=blocks`: [`super::BlockData`]. Its `id:` is the cursor after it.
    pub const BLOCK: &str = "block";
    /// Lines that are missing for ever: [`super::GapData`].
    pub const GAP: &str = "gap";
    /// The end, after the last line: [`super::EndData`].
    pub const END: &str = "end";
}

/// One event of `GET /executions/{id}/logs/stream`, by the fields it has on the wire.
#[cfg(feature = "http")]
#[derive(utoipa::ToSchema)]
pub struct StreamEvent {
    /// Which kind: one of [`sse`].
    #[schema(pattern = "^(status|log|block|gap|end)$")]
    pub event: String,
    /// The cursor after it; of `log`, `block` and `gap`.
    pub id: Option<String>,
    /// JSON: `StatusData`, `LogEvent`, `BlockData`, `GapData` or `EndData`.
    pub data: String,
}

/// The `status` event of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct StatusData {
    /// The new status.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub status_reason: Option<Reason>,
    /// What refines the status: `pulling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How far it is in that phase, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// While it waits for its lock: its place in the line, 1 for the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// While it waits for its lock: who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<super::HolderData>,
}

/// The `block` event of a stream: consecutive events of one of the command's outputs.
///
/// The bytes are `raw` decoded, or `text`: exactly what the command wrote, newlines included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct BlockData<'a> {
    /// Number of the first event.
    pub first: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// `stdout` or `stderr`.
    #[serde(with = "crate::log::stream_name")]
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub stream: Stream,
    /// The bytes, where they are UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub text: Option<std::borrow::Cow<'a, str>>,
    /// Base64 of the bytes, where they are not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub raw: Option<std::borrow::Cow<'a, str>>,
}

/// The `gap` event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct GapData {
    /// Number of the first missing event.
    pub from: u64,
    /// Number of the next event that is there.
    pub to: u64,
}

/// The `end` event of a stream: how the execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct EndData {
    /// The terminal status.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub status: Status,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub status_reason: Option<Reason>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_detail: Option<String>,
    /// The command's own code; `null` if it never ran.
    pub exit_code: Option<i32>,
    /// Whether the log has everything that the command wrote.
    pub complete: bool,
}
