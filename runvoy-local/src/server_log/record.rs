use std::fmt::Write as _;

use jiff::Timestamp;
use runvoy_core::id::RequestId;
use runvoy_core::port::{TraceLevel, TraceLine};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest text of a message or a field, in bytes.
const TEXT_BYTES: usize = 4096;
/// Longest line; one that is longer loses its fields.
const LINE_BYTES: usize = 32 * 1024;

/// A line of the log, as it stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) level: TraceLevel,
    pub(super) target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestId>,
    pub(super) message: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) fields: Map<String, Value>,
}

impl Record {
    /// One line of JSON, newline included.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let line = self.to_json();
        if line.len() <= LINE_BYTES {
            return line;
        }
        let fields = Map::from_iter([("cut".to_owned(), Value::from(line.len()))]);
        Self { fields, ..self.clone() }.to_json()
    }

    fn to_json(&self) -> Vec<u8> {
        // Nothing in it can fail to be JSON.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The line for people: the message, then its fields.
    pub(super) fn into_line(self) -> TraceLine {
        let mut message = self.message;
        for (name, value) in &self.fields {
            let _ = match value {
                Value::String(text) if text.contains([' ', '"', '=']) => write!(message, " {name}={text:?}"),
                Value::String(text) => write!(message, " {name}={text}"),
                other => write!(message, " {name}={other}"),
            };
        }
        TraceLine { at: self.at, level: self.level, message }
    }
}

/// What every line of a request holds, and no other: within a JSON string a quotation mark does not stand alone.
pub(super) fn mark(request: RequestId) -> String {
    format!("\"request\":\"{request}\"")
}

/// The beginning of a text that is too long.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES);
    format!("{}…", text.get(..end).unwrap_or_default())
}
