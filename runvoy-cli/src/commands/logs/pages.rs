//! The log so far, a page at a time.

use runvoy_core::api::LogPageAnswer;
use runvoy_core::id::ExecutionId;
use runvoy_core::limits;

use super::render::Renderer;
use crate::client::Client;
use crate::error::CliError;

/// Prints what is there, and stops.
pub(super) async fn print(
    client: &Client,
    id: ExecutionId,
    tail: Option<u64>,
    mut renderer: Renderer,
) -> Result<(), CliError> {
    let mut position = match tail {
        Some(tail) => format!("&tail={tail}"),
        None => String::new(),
    };
    loop {
        let path = format!("/executions/{id}/logs?limit={}{position}", limits::PAGE);
        let page = client.get::<LogPageAnswer>(&path).await?.value;
        for event in &page.events {
            renderer.line(event).await?;
        }
        if page.events.is_empty() || page.end.is_some() {
            return renderer.finish().await;
        }
        position = format!("&after={}", page.next);
    }
}
