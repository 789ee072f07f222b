//! What stands in the frames.

use axum::extract::ws::{Message, Utf8Bytes};
use serde::Serialize;

use crate::api::DisconnectFrame;
use crate::execution::Execution;
use crate::http::logs::end_data;
use crate::id::RequestId;
use crate::log::LogEvent;
use crate::port::{LogItem, LogPage};

/// The frames of one connection.
///
/// Its events have names that no other connection has: the web app of 0.5 keys what it shows by them and freezes when one
/// comes twice, which a page that reconnects would see otherwise.
pub(super) struct Frames {
    suffix: String,
    /// When the last event was.
    at: i64,
}

impl Frames {
    /// The frames of the connection that this request opened.
    pub(super) fn of_connection(request: RequestId) -> Self {
        let id = request.to_string();
        Self { suffix: format!("-{}", id.get(..8).unwrap_or(&id)), at: 0 }
    }

    /// A part of the log, each frame made when it is asked for.
    pub(super) fn of_page<'a>(
        &'a mut self,
        record: &Execution,
        page: &'a LogPage,
    ) -> impl Iterator<Item = Message> + use<'a> {
        let (id, Self { suffix, at }) = (record.id, self);
        let suffix = suffix.as_str();
        page.items.iter().flat_map(move |item| {
            let (block, gap) = match item {
                LogItem::Block(block) => {
                    *at = block.timestamp;
                    (Some(block), None)
                }
                LogItem::Gap { from, to, .. } => (None, Some(LogEvent::of_gap(id, (*from, *to), *at))),
            };
            let lines = block
                .into_iter()
                .flat_map(move |block| block.lines().map(move |line| LogEvent::new(id, block, &line)));
            lines.chain(gap).map(move |mut event| {
                event.event_id.push_str(suffix);
                text(&event)
            })
        })
    }

    /// The last one.
    pub(super) fn of_end(record: &Execution, complete: bool) -> Message {
        text(&DisconnectFrame::new(end_data(record, complete)))
    }
}

fn text(frame: &impl Serialize) -> Message {
    // Serialising these types cannot fail.
    Message::Text(Utf8Bytes::from(serde_json::to_string(frame).unwrap_or_default()))
}
