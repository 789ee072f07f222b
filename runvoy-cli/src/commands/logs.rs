//! `runvoy logs`: print a log, or follow it.

mod pages;
mod render;

use runvoy_core::api::EndData;
use runvoy_core::id::ExecutionId;

use super::run::Short;
use super::{Context, since};
use crate::args::{LogFormat, LogsArgs};
use crate::client::stream::{FirstTry, Follow, FollowOptions, Format, Item};
use crate::error::CliError;
use crate::exit;
use crate::outcome::Ending;
use render::{JsonShape, Renderer, Style};

/// The command.
pub(crate) async fn logs(context: &Context, args: &LogsArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let style = match args.output {
        Some(LogFormat::Json) if args.follow => Style::Json(JsonShape::Lines),
        Some(LogFormat::Json) => Style::Json(JsonShape::Array),
        _ if args.timestamps => Style::Timestamps,
        _ => Style::Bytes,
    };
    let since = args.since.as_deref().map(since).transpose()?;
    let record = client.execution(&args.id).await?.value;
    let renderer = Renderer::new(style, since)?;
    if args.follow || record.status.is_terminal() {
        let format = if matches!(style, Style::Json(_)) { Format::Lines } else { Format::Blocks };
        let options = FollowOptions { format, tail: args.tail, first_try: FirstTry::Fails };
        let end = follow(context, Follow::new(&client, record.execution_id, options), renderer).await?;
        if args.follow {
            return Ok(conclude(context, record.execution_id, &end));
        }
    } else {
        pages::print(&client, record.execution_id, args.tail, renderer).await?;
    }
    Ok(exit::OK)
}

/// Whoever followed to the end exits as the command did, as if they had run it.
fn conclude(context: &Context, id: ExecutionId, end: &EndData) -> u8 {
    let verdict = Ending::from(end).verdict();
    if let Some(line) = &verdict.line {
        context.printer.verdict(&format!("runvoy: {}: {line}", Short(id)));
    }
    verdict.code
}

async fn follow(context: &Context, mut log: Follow<'_>, mut renderer: Renderer) -> Result<EndData, CliError> {
    let printer = context.printer;
    loop {
        let item = tokio::select! {
            item = log.next() => item?,
            error = renderer.failed() => return Err(error),
        };
        match item {
            Item::Block(block) => renderer.block(block).await?,
            Item::Line(line) => renderer.line(&line).await?,
            Item::Gap(gap) => {
                printer.warn(&format!("{} log lines are missing here", gap.to.saturating_sub(gap.from)));
            }
            Item::Lost => printer.note("note: the connection was lost; going on from the last line"),
            Item::Status(_) => {}
            Item::End(end) => {
                renderer.finish().await?;
                if !end.complete {
                    printer.warn("the log is incomplete: some of the command's output may be missing");
                }
                return Ok(end);
            }
        }
    }
}
