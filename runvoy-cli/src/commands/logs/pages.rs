//! The log so far, a page at a time.

use runvoy_core::api::LogPageAnswer;
use runvoy_core::id::ExecutionId;
use runvoy_core::limits;

use super::render::Renderer;
use crate::client::Client;
use crate::error::CliError;

/// Prints what is there when it begins, and stops, however fast the command goes on writing.
pub(super) async fn print(
    client: &Client,
    id: ExecutionId,
    tail: Option<u64>,
    mut renderer: Renderer,
) -> Result<(), CliError> {
    let read = async |query: String| {
        let path = format!("/executions/{id}/logs?{query}");
        Ok::<_, CliError>(client.get::<LogPageAnswer>(&path).await?.value)
    };
    let end = read("limit=1&tail=0".to_owned()).await?.next;
    let mut beyond = None;
    let mut last = None;
    let mut position = tail.map_or_else(String::new, |tail| format!("&tail={tail}"));
    loop {
        if beyond.is_none() {
            // The first event that was not there yet.
            beyond = read(format!("limit=1&after={end}"))
                .await?
                .events
                .into_iter()
                .next()
                .map(|event| event.event_id);
        }
        let page = read(format!("limit={}{position}", limits::PAGE)).await?;
        let old = page.events.iter().position(|event| Some(&event.event_id) == beyond.as_ref());
        for event in page.events.iter().take(old.unwrap_or(page.events.len())) {
            renderer.line(event).await?;
        }
        // A page may be short without being the last: one of long lines ends after so many bytes.
        if old.is_some() || page.next == end || Some(&page.next) == last.as_ref() {
            return renderer.finish().await;
        }
        last = Some(page.next.clone());
        position = format!("&after={}", page.next);
    }
}
