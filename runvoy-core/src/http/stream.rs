//! Server-Sent Events (WHATWG HTML, section 9.2) over one reader of a log.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream;
use http::{HeaderMap, header};
use serde::Serialize;

use super::ApiError;
use super::executions::ExecutionPath;
use super::logs::{end_data, events, start};
use super::query::Params;
use crate::api::{BlockData, ErrorBody, GapData, StatusData, StreamEvent, sse};
use crate::execution::Execution;
use crate::log::{Cursor, LogBlock};
use crate::port::{Action, BoxError, LogItem, LogPage};
use crate::{Caller, Follow, FollowItem, Runvoy};

/// A comment this often shows that the connection lives, also to whatever stands in between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How lines are put into events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One event a line.
    Lines,
    /// One event for many lines of a stream: a fifth of the work.
    Blocks,
}

impl Format {
    fn of(params: &Params) -> Result<Self, ApiError> {
        match params.get("format") {
            None | Some("lines") => Ok(Self::Lines),
            Some("blocks") => Ok(Self::Blocks),
            Some(_) => Err(ApiError::invalid_query("format: `lines` or `blocks`".to_owned())),
        }
    }
}

/// Follows an execution to its end.
///
/// Events: `status`, `log` (or `block`), `gap`, and last `end`. A stream that closes without `end` is resumed with
/// `Last-Event-ID`.
#[utoipa::path(
    get, path = "/executions/{id}/logs/stream", security(("api_key" = [])),
    params(
        ("id" = String, Path, description = "its id, or a prefix of 6 digits or more that no other has"),
        ("after" = Option<String>, Query, description = "a cursor: only what follows it"),
        ("tail" = Option<u64>, Query, description = "begin so many events before the end"),
        ("format" = Option<String>, Query, description = "`lines`, or `blocks` for one event per block"),
        ("Last-Event-ID" = Option<String>, Header, description = "the last `id:` of an earlier connection; wins over `after`"),
    ),
    responses(
        (status = 200, body = StreamEvent, content_type = "text/event-stream"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub(super) async fn get_stream(
    State(runvoy): State<Runvoy>,
    caller: Caller,
    path: ExecutionPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let resume =
        headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let asked = Format::of(&params).and_then(|format| Ok((format, start(&params, resume)?)));
    let (id, (format, start)) = path.with(&runvoy, &caller, Action::ReadLogs, asked).await?;
    let follow = runvoy.follow(&caller, &id, start).await?;
    // The first look tells an unknown cursor while there is still a status to tell it by.
    let mut follower = Follower { follow, format };
    let first = follower.frame().await?;
    let body = stream::try_unfold((Some(first), follower), |(ready, mut follower)| async move {
        let frame = match ready {
            Some(frame) => frame,
            None => follower.frame().await?,
        };
        Ok::<_, BoxError>(frame.map(|frame| (frame, (None, follower))))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // nginx would collect the stream before it passes it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Follower {
    follow: Follow,
    format: Format,
}

impl Follower {
    /// The next bytes to send; `None` closes the stream.
    async fn frame(&mut self) -> Result<Option<Bytes>, crate::Error> {
        // `Follow::next` is cancel-safe: what a timeout cuts off is told by the next call.
        let Ok(item) = tokio::time::timeout(KEEP_ALIVE, self.follow.next()).await else {
            return Ok(Some(Bytes::from_static(b": keep-alive\n\n")));
        };
        match item {
            // Who comes back with `Last-Event-ID` is told why.
            Err(crate::Error::Unauthenticated(_)) => Ok(None),
            item => Ok(item?.map(|item| self.encode(&item))),
        }
    }

    fn encode(&self, item: &FollowItem) -> Bytes {
        let record = self.follow.execution();
        match item {
            FollowItem::Status { execution, waiting, progress } => {
                let data = StatusData {
                    status: execution.status,
                    status_reason: execution.status_reason,
                    phase: progress.as_ref().map(|progress| progress.phase.as_str().to_owned()),
                    detail: progress.as_ref().and_then(|progress| progress.detail.clone()),
                    position: waiting.as_ref().map(|waiting| waiting.position),
                    holder: waiting.as_ref().and_then(|waiting| waiting.holder.as_ref()).map(Into::into),
                };
                event(sse::STATUS, None, &data)
            }
            FollowItem::Page(page) if self.format == Format::Blocks => page.encoded(encode_blocks),
            FollowItem::Page(page) => encode_lines(record, page.page()),
            FollowItem::End { execution, complete } => event(sse::END, None, &end_data(execution, *complete)),
        }
    }
}

fn event(name: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(128);
    write_event(&mut out, name, id, data);
    out.into()
}

/// Appends one event. JSON on one line needs no further escaping.
fn write_event(out: &mut Vec<u8>, name: &str, id: Option<&str>, data: &impl Serialize) {
    // Writing to a `Vec` cannot fail, and neither can serialising these types.
    let _ = writeln!(out, "event: {name}");
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    out.extend_from_slice(b"data: ");
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

fn encode_blocks(page: &LogPage) -> Bytes {
    let bytes: usize =
        page.items.iter().map(|item| if let LogItem::Block(b) = item { b.bytes.len() } else { 0 }).sum();
    let mut out = Vec::with_capacity(bytes + bytes / 16 + page.items.len() * 128);
    for item in &page.items {
        match item {
            LogItem::Block(block) => {
                write_event(&mut out, sse::BLOCK, Some(block.next.as_str()), &block_data(block));
            }
            LogItem::Gap { from, to, next } => write_gap(&mut out, *from, *to, next),
        }
    }
    out.into()
}

fn block_data(block: &LogBlock) -> BlockData<'_> {
    let (text, raw) = match std::str::from_utf8(&block.bytes) {
        Ok(text) => (Some(Cow::Borrowed(text)), None),
        Err(_) => (None, Some(Cow::Owned(BASE64.encode(&block.bytes)))),
    };
    BlockData { first: block.first, timestamp: block.timestamp, stream: block.stream, text, raw }
}

fn encode_lines(record: &Execution, page: &LogPage) -> Bytes {
    let mut out = Vec::new();
    for item in &page.items {
        match item {
            LogItem::Block(block) => {
                let last = block.first + block.len() - 1;
                for (number, line) in (block.first..).zip(events(record, item)) {
                    // Only sources that number their events make blocks of several.
                    let id =
                        if number == last { block.next.clone() } else { Cursor::before_event(number + 1) };
                    write_event(&mut out, sse::LOG, Some(id.as_str()), &line);
                }
            }
            LogItem::Gap { from, to, next } => write_gap(&mut out, *from, *to, next),
        }
    }
    out.into()
}

fn write_gap(out: &mut Vec<u8>, from: u64, to: u64, next: &Cursor) {
    write_event(out, sse::GAP, Some(next.as_str()), &GapData { from, to });
}
