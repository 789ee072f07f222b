//! From log items to what is printed.

use jiff::Timestamp;
use runvoy_core::log::{LogEvent, Stream};

use crate::client::stream::Block;
use crate::error::{CliError, Kind};
use crate::output::{Chunk, Output};

/// How a log is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The command's bytes, each where the command wrote them.
    Bytes,
    /// The same, lines begun with their time.
    Timestamps,
    /// The API's events, on stdout.
    Json(JsonShape),
}

/// How several events make JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonShape {
    /// One document, an event a line.
    Array,
    /// One document a line.
    Lines,
}

/// Prints a log.
pub(super) struct Renderer {
    style: Style,
    since: Option<i64>,
    output: Output,
    /// Whether the next byte begins a line, of stdout and stderr.
    fresh: [bool; 2],
    events: u64,
}

impl Renderer {
    /// Prints what is not older than `since`.
    pub(super) fn new(style: Style, since: Option<i64>) -> Result<Self, CliError> {
        Ok(Self { style, since, output: Output::open()?, fresh: [true; 2], events: 0 })
    }

    /// Waits until nobody reads any more. May be dropped and called again.
    pub(super) async fn failed(&mut self) -> CliError {
        self.output.failed().await
    }

    /// Prints bytes.
    pub(super) async fn block(&mut self, block: Block) -> Result<(), CliError> {
        if self.since.is_some_and(|since| block.timestamp < since) {
            return Ok(());
        }
        let bytes = match self.style {
            Style::Timestamps => {
                let [stdout, stderr] = &mut self.fresh;
                let fresh = if block.stream == Stream::Stdout { stdout } else { stderr };
                stamped(&block.bytes, block.timestamp, fresh)
            }
            _ => block.bytes,
        };
        self.output.write(Chunk { stream: block.stream, bytes }).await
    }

    /// Prints one line.
    pub(super) async fn line(&mut self, event: &LogEvent) -> Result<(), CliError> {
        let Style::Json(shape) = self.style else {
            let block = Block { stream: event.stream, timestamp: event.timestamp, bytes: event.bytes() };
            return self.block(block).await;
        };
        if self.since.is_some_and(|since| event.timestamp < since) {
            return Ok(());
        }
        let mut bytes = match (shape, self.events) {
            (JsonShape::Lines, _) => Vec::new(),
            (JsonShape::Array, 0) => b"[\n".to_vec(),
            (JsonShape::Array, _) => b",\n".to_vec(),
        };
        serde_json::to_writer(&mut bytes, event)
            .map_err(|e| CliError::new(Kind::Unavailable, "an event cannot be written as JSON").because(e))?;
        if shape == JsonShape::Lines {
            bytes.push(b'\n');
        }
        self.events += 1;
        self.output.write(Chunk { stream: Stream::Stdout, bytes }).await
    }

    /// Ends the document, and waits until everything is out.
    pub(super) async fn finish(mut self) -> Result<(), CliError> {
        if self.style == Style::Json(JsonShape::Array) {
            let end = if self.events == 0 { "[]\n" } else { "\n]\n" };
            self.output.write(Chunk { stream: Stream::Stdout, bytes: end.into() }).await?;
        }
        self.output.close().await
    }
}

/// The bytes with the time before every line that begins in them.
fn stamped(bytes: &[u8], timestamp: i64, fresh: &mut bool) -> Vec<u8> {
    let time = Timestamp::from_millisecond(timestamp).unwrap_or_default();
    let stamp = format!("{time:.3} ");
    let mut out = Vec::with_capacity(bytes.len() * 2);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if *fresh {
            out.extend_from_slice(stamp.as_bytes());
        }
        out.extend_from_slice(line);
        *fresh = line.ends_with(b"\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_pieces_has_one_stamp() {
        let mut fresh = true;
        let first = stamped(b"a\nprompt> ", 1_767_607_201_123, &mut fresh);
        let second = stamped(b"yes\n", 1_767_607_202_000, &mut fresh);
        let text = String::from_utf8([first, second].concat()).unwrap();
        assert_eq!(text, "2026-01-05T10:00:01.123Z a\n2026-01-05T10:00:01.123Z prompt> yes\n");
        assert!(fresh);
    }
}
