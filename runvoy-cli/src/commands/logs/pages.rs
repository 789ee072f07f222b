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
    let first = tail.map_or_else(String::new, |tail| format!("&tail={tail}"));
    let mut page = read(format!("limit={}{first}", limits::PAGE)).await?;
    // Asked for after the first page, which a fast command could otherwise push beyond it.
    let end = read("limit=1&tail=0".to_owned()).await?.next;
    let mut beyond = None;
    let mut last = None;
    let mut left = tail.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    loop {
        if beyond.is_none() {
            // The first event that was not there yet. Asked for after the page: a page holds it only if it is known.
            let following = read(format!("limit=1&after={end}")).await?.events;
            beyond = following.into_iter().next().map(|event| event.event_id);
        }
        let old = page.events.iter().position(|event| Some(&event.event_id) == beyond.as_ref());
        let wanted = old.unwrap_or(page.events.len()).min(left);
        for event in page.events.iter().take(wanted) {
            renderer.line(event).await?;
        }
        left -= wanted;
        // A page may be short without being the last: one of long lines ends after so many bytes.
        if left == 0 || old.is_some() || page.next == end || Some(&page.next) == last.as_ref() {
            return renderer.finish().await;
        }
        let next = read(format!("limit={}&after={}", limits::PAGE, page.next)).await?;
        last = Some(std::mem::replace(&mut page, next).next);
    }
}
