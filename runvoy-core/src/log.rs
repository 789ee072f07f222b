//! Log events, blocks of them, and positions among them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
pub use runvoy_task::block::{Stream, Tail};
use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, ParseIdError};

/// An opaque position in one execution's log: reading after it never skips or repeats a line.
///
/// What it looks like is its `LogSource`'s own affair; it fits a URL and an SSE `id:` as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Takes a cursor as a client sent it: 1 to 100 of `A-Z a-z 0-9 - _ .`
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let fits = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        fits.then(|| Self(text.to_owned())).ok_or(ParseIdError("this is no cursor of a log"))
    }

    /// The cursor before event number `next`, for sources that number their events.
    pub fn before_event(next: u64) -> Self {
        Self(next.to_string())
    }

    /// The number of the event that follows, for sources that number their events.
    pub fn next_event(&self) -> Option<u64> {
        let canonical = self.0 == "0" || !self.0.starts_with('0');
        (canonical && self.0.bytes().all(|b| b.is_ascii_digit())).then(|| self.0.parse().ok()).flatten()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Consecutive events of one stream that were read at one time.
///
/// `bytes` is what the command wrote, save masked runs. Every newline ends an event; what follows the last one is
/// an event of its own, about which `tail` speaks. A source whose cursors are not [`Cursor::before_event`] makes blocks
/// of one event, so that there is a cursor after every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBlock {
    /// Number of the first event, from 0 over the whole log.
    pub first: u64,
    /// When it was read, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Where it came from.
    pub stream: Stream,
    /// How the last event ends.
    pub tail: Tail,
    /// The bytes.
    pub bytes: Bytes,
    /// The position after the block.
    pub next: Cursor,
}

impl LogBlock {
    /// The events of the block, in order, each as its number and what stands before its newline.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest: &[u8] = &self.bytes;
        let mut number = self.first;
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let (bytes, tail) = if let Some(at) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(at);
                rest = after.get(1..).unwrap_or_default();
                done = rest.is_empty();
                (line, Tail::Newline)
            } else {
                done = true;
                (rest, self.tail)
            };
            let line = Line { number, bytes, tail };
            number += 1;
            Some(line)
        })
    }

    /// How many events the block holds.
    pub fn len(&self) -> u64 {
        let newlines = memchr::memchr_iter(b'\n', &self.bytes).count() as u64;
        newlines + u64::from(self.bytes.last() != Some(&b'\n'))
    }

    /// A block is never empty: there is no event without a block, nor a block without an event.
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// One event of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number.
    pub number: u64,
    /// Its bytes, without the newline.
    pub bytes: &'a [u8],
    /// How it ends.
    pub tail: Tail,
}

/// One line of output, as clients see it.
///
/// The bytes that the command wrote are `raw` decoded, or `message`, and a newline unless `eol` is false or `part` is
/// true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct LogEvent {
    /// Unique over all executions.
    pub event_id: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// `stdout` or `stderr`.
    #[serde(with = "stream_name")]
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub stream: Stream,
    /// The line; bytes that are not UTF-8 are replaced.
    pub message: String,
    /// Base64 of the line, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// False where the line ends without a newline.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub eol: bool,
    /// True where the line goes on in the stream's next event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub part: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(value: &bool) -> bool {
    *value
}

impl LogEvent {
    /// The event of one line.
    pub fn new(id: ExecutionId, block: &LogBlock, line: &Line<'_>) -> Self {
        let (message, raw) = match std::str::from_utf8(line.bytes) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (String::from_utf8_lossy(line.bytes).into_owned(), Some(BASE64.encode(line.bytes))),
        };
        Self {
            event_id: event_id(id, line.number),
            timestamp: block.timestamp,
            stream: block.stream,
            message,
            raw,
            eol: line.tail != Tail::NoNewline,
            part: line.tail == Tail::Part,
        }
    }

    /// What stands in the place of events that are missing for ever, for readers who know no other way to be told:
    /// `from` up to but without `to`, after something of that time.
    pub fn of_gap(id: ExecutionId, (from, to): (u64, u64), timestamp: i64) -> Self {
        let last = to.saturating_sub(1);
        Self {
            event_id: event_id(id, last),
            timestamp,
            stream: Stream::Stderr,
            message: format!("### runvoy: the lines {from} to {last} of this log are missing"),
            raw: None,
            eol: true,
            part: false,
        }
    }

    /// The bytes that the command wrote.
    pub fn bytes(&self) -> Vec<u8> {
        let raw = self.raw.as_ref().and_then(|raw| BASE64.decode(raw).ok());
        let mut bytes = raw.unwrap_or_else(|| self.message.clone().into_bytes());
        if self.eol && !self.part {
            bytes.push(b'\n');
        }
        bytes
    }
}

/// The id of an event: unique over all executions, as clients key what they render by it.
pub fn event_id(id: ExecutionId, number: u64) -> String {
    format!("{id}-{number:06}")
}

/// The number that an event's id names, if it is one of this execution's, whatever follows the number.
pub fn event_number(id: ExecutionId, event_id: &str) -> Option<u64> {
    let rest = event_id.strip_prefix(&id.to_string())?.strip_prefix('-')?;
    let digits = rest.split_once('-').map_or(rest, |(digits, _)| digits);
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `stdout` and `stderr`.
pub fn stream_str(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Serde for a stream's name.
pub mod stream_name {
    use super::{Stream, stream_str};

    /// Writes `stdout` or `stderr`.
    pub fn serialize<S: serde::Serializer>(stream: &Stream, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(stream_str(*stream))
    }

    /// Reads `stdout` or `stderr`.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Stream, D::Error> {
        let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        match name.as_ref() {
            "stdout" => Ok(Stream::Stdout),
            "stderr" => Ok(Stream::Stderr),
            other => Err(serde::de::Error::unknown_variant(other, &["stdout", "stderr"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &'static [u8], tail: Tail) -> LogBlock {
        LogBlock {
            first: 7,
            timestamp: 1,
            stream: Stream::Stdout,
            tail,
            bytes: Bytes::from_static(bytes),
            next: Cursor::before_event(0),
        }
    }

    #[test]
    fn events_give_back_the_bytes() {
        let cases: [(&[u8], Tail, u64); 6] = [
            (b"a\nb\n", Tail::Newline, 2),
            (b"\n\n", Tail::Newline, 2),
            (b"a\nb", Tail::NoNewline, 2),
            (b"prompt> ", Tail::Part, 1),
            (b"\xff\xfe\nok\n", Tail::Newline, 2),
            (b"\r 10%\r 20%", Tail::Part, 1),
        ];
        for (bytes, tail, count) in cases {
            let block = block(bytes, tail);
            let events: Vec<_> =
                block.lines().map(|line| LogEvent::new(ExecutionId::from_u128(1), &block, &line)).collect();
            assert_eq!(events.len() as u64, count, "{bytes:?}");
            assert_eq!(block.len(), count, "{bytes:?}");
            assert_eq!(events.iter().flat_map(LogEvent::bytes).collect::<Vec<_>>(), bytes);
            let json = serde_json::to_string(&events).unwrap();
            assert_eq!(serde_json::from_str::<Vec<LogEvent>>(&json).unwrap(), events);
        }
    }

    #[test]
    fn an_event_is_found_by_its_id_whatever_follows() {
        let id = ExecutionId::from_u128(1);
        for (text, number) in [
            (event_id(id, 7), Some(7)),
            (event_id(id, 12_345_678), Some(12_345_678)),
            (format!("{}-1a2b3c4d", event_id(id, 7)), Some(7)),
            (event_id(ExecutionId::from_u128(2), 7), None),
            (format!("{id}-"), None),
            (format!("{id}-+7"), None),
            (id.to_string(), None),
            (String::new(), None),
        ] {
            assert_eq!(event_number(id, &text), number, "{text}");
        }
    }

    #[test]
    fn a_numbered_cursor_has_one_spelling() {
        assert_eq!(Cursor::parse("42").unwrap().next_event(), Some(42));
        for other in ["042", "x", "-1", "99999999999999999999999"] {
            assert_eq!(Cursor::parse(other).unwrap().next_event(), None, "{other}");
        }
        for bad in ["", "a b", "a/b", "ä"] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}
