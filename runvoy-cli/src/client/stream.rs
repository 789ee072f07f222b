//! Following a log over as many connections as it takes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use runvoy_core::api::{BlockData, EndData, GapData, StatusData, sse as names};
use runvoy_core::id::ExecutionId;
use runvoy_core::log::{Cursor, LogEvent, Stream};
use serde::de::Deserialize;
use tokio::time::{Instant, timeout};

use super::sse::{Event, Parser};
use super::transport::Body;
use super::{Backoff, Call, Client, failure, retry_after};
use crate::error::{CliError, Kind};

/// How long a server may be away before a follower gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// The server sends a comment every 15 s; a connection that says less is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// A connection that lived this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// What comes in a log.
#[derive(Debug)]
pub(crate) enum Item {
    /// The status changed.
    Status(StatusData),
    /// Bytes that the command wrote.
    Block(Block),
    /// One line, where lines were asked for.
    Line(Box<LogEvent>),
    /// Lines that are missing for ever.
    Gap(GapData),
    /// The end; nothing follows.
    End(EndData),
    /// The connection was lost; it is being taken up again. Said once.
    Lost,
}

/// Bytes that the command wrote, as it wrote them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where it wrote them.
    pub(crate) stream: Stream,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

/// What a log is split into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Runs of bytes, which is fast.
    Blocks,
    /// One event a line.
    Lines,
}

/// What a first connection that fails means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstTry {
    /// An error: nobody knows yet that the server is there.
    Fails,
    /// The same as a later one: the execution is known to be there.
    Repeats,
}

/// How to follow.
#[derive(Clone, Debug)]
pub(crate) struct FollowOptions {
    /// What to split into.
    pub(crate) format: Format,
    /// Begin with the last lines.
    pub(crate) tail: Option<u64>,
    /// What a first connection that fails means.
    pub(crate) first_try: FirstTry,
}

/// Reads one execution's log to its end. No line is lost or repeated.
pub(crate) struct Follow<'a> {
    client: &'a Client,
    id: ExecutionId,
    options: FollowOptions,
    cursor: Option<Cursor>,
    connection: Option<Connection>,
    backoff: Backoff,
    connected_before: bool,
    told: bool,
    /// Why the last connection is no more; the next one waits a moment.
    ended: Option<Ended>,
}

struct Connection {
    body: Body,
    parser: Parser,
    since: Instant,
}

struct Ended {
    error: CliError,
    /// How long the server wants to be left alone.
    asked: Option<Duration>,
}

/// How a connection ended.
enum Closed {
    /// As agreed: the server drains, or its platform bounds the time of an answer.
    Cleanly,
    /// In the middle of something.
    Broken,
}

impl<'a> Follow<'a> {
    /// Follows an execution.
    pub(crate) fn new(client: &'a Client, id: ExecutionId, options: FollowOptions) -> Self {
        let connected_before = options.first_try == FirstTry::Repeats;
        let backoff = Backoff::new(PATIENCE);
        let (cursor, connection, ended) = (None, None, None);
        Self { client, id, options, cursor, connection, backoff, connected_before, told: false, ended }
    }

    /// The next item. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Item, CliError> {
        loop {
            let Some(connection) = &mut self.connection else {
                if !self.connect().await? && !std::mem::replace(&mut self.told, true) {
                    return Ok(Item::Lost);
                }
                continue;
            };
            match connection.next_event().await? {
                Ok(event) => {
                    self.backoff.reset();
                    if let Some(item) = self.item(event)? {
                        return Ok(item);
                    }
                }
                Err(closed) => {
                    // An idle log is closed now and then; that is no failure.
                    if connection.since.elapsed() >= STABLE {
                        self.backoff.reset();
                    }
                    self.connection = None;
                    let error = CliError::new(Kind::Unavailable, "the server closes the log again and again");
                    self.ended = Some(Ended { error: error.hint("try again later"), asked: None });
                    if matches!(closed, Closed::Broken) && !std::mem::replace(&mut self.told, true) {
                        return Ok(Item::Lost);
                    }
                }
            }
        }
    }

    /// One attempt; false if it failed in a way that may pass.
    async fn connect(&mut self) -> Result<bool, CliError> {
        if let Some(ended) = &self.ended {
            let patient = self.backoff.pause(ended.asked).await;
            if let Some(ended) = self.ended.take().filter(|_| !patient) {
                return Err(ended.error);
            }
        }
        let path = self.path();
        let call = Call { accept: "text/event-stream", ..Call::get(&path) };
        let (error, asked) = match self.client.send(&call).await {
            Err(e) => (self.client.unreachable(e), None),
            Ok(response) if response.status().is_success() => {
                let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
                    return Err(failure::no_runvoy(&self.client.endpoint));
                }
                self.connected_before = true;
                let parser = Parser::default();
                self.connection =
                    Some(Connection { body: response.into_body(), parser, since: Instant::now() });
                return Ok(true);
            }
            Ok(response) => {
                let asked = retry_after(&response);
                match self.client.document::<serde_json::Value>(&call, response).await {
                    Err(e) => (e, asked),
                    Ok(_) => (failure::no_runvoy(&self.client.endpoint), asked),
                }
            }
        };
        if !self.connected_before || !failure::is_passing(&error) {
            return Err(error);
        }
        self.ended = Some(Ended { error, asked });
        Ok(false)
    }

    fn path(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if self.options.format == Format::Blocks {
            query.append_pair("format", "blocks");
        }
        match (&self.cursor, self.options.tail) {
            (Some(cursor), _) => _ = query.append_pair("after", cursor.as_str()),
            (None, Some(tail)) => _ = query.append_pair("tail", &tail.to_string()),
            (None, None) => {}
        }
        format!("/executions/{}/logs/stream?{}", self.id, query.finish())
    }

    /// What an event means; moves the cursor behind it.
    fn item(&mut self, event: Event) -> Result<Option<Item>, CliError> {
        let item = match event.name.as_str() {
            names::BLOCK => Some(Item::Block(block(&event.data)?)),
            names::LOG => {
                let line: LogEvent = decode(&event.data)?;
                Some(match self.options.format {
                    Format::Lines => Item::Line(Box::new(line)),
                    Format::Blocks => Item::Block(Block {
                        stream: line.stream,
                        timestamp: line.timestamp,
                        bytes: line.bytes(),
                    }),
                })
            }
            names::STATUS => Some(Item::Status(decode(&event.data)?)),
            names::GAP => Some(Item::Gap(decode(&event.data)?)),
            names::END => Some(Item::End(decode(&event.data)?)),
            // Newer servers may tell more.
            _ => None,
        };
        if let Some(id) = event.id.filter(|id| !id.is_empty()) {
            self.cursor = Some(Cursor::parse(&id).map_err(garbled)?);
        }
        Ok(item)
    }
}

impl Connection {
    async fn next_event(&mut self) -> Result<Result<Event, Closed>, CliError> {
        loop {
            if let Some(event) = self.parser.next_event().map_err(garbled)? {
                return Ok(Ok(event));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.parser.push(frame.data_ref().map_or(&[][..], |data| data)),
                Ok(None) => return Ok(Err(Closed::Cleanly)),
                Ok(Some(Err(_))) | Err(_) => return Ok(Err(Closed::Broken)),
            }
        }
    }
}

fn block(data: &[u8]) -> Result<Block, CliError> {
    let block: BlockData<'_> = decode(data)?;
    let bytes = match (block.text, block.raw) {
        (Some(text), _) => text.into_owned().into_bytes(),
        (None, Some(raw)) => BASE64.decode(raw.as_bytes()).map_err(garbled)?,
        (None, None) => Vec::new(),
    };
    Ok(Block { stream: block.stream, timestamp: block.timestamp, bytes })
}

fn decode<'de, T: Deserialize<'de>>(data: &'de [u8]) -> Result<T, CliError> {
    serde_json::from_slice(data).map_err(garbled)
}

fn garbled(error: impl Into<super::transport::BoxError>) -> CliError {
    CliError::new(Kind::Unavailable, "the server sent something that is no log")
        .hint("is there a proxy in between?")
        .because(error)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
