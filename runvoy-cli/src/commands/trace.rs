//! `runvoy trace`: what the server itself says of a request.

use jiff::Timestamp;
use runvoy_core::api::{RelatedResources, TraceAnswer, TraceEvent};

use super::Context;
use super::run::Short;
use crate::args::TraceArgs;
use crate::error::{CliError, Kind};
use crate::{exit, table};

/// The command.
pub(crate) async fn trace(context: &Context, args: TraceArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<TraceAnswer>(&format!("/trace/{}", args.request)).await?;
    let TraceAnswer { logs, related_resources } = &answer.value;
    let related = related(related_resources);
    if related.is_empty() && logs.as_ref().is_some_and(Vec::is_empty) {
        let what = format!("nothing is known of the request {}", args.request);
        return Err(CliError::new(Kind::NotFound, what).hint("is the id right, or is it long ago?"));
    }
    if args.output.json() {
        context.printer.data(&answer.json())?;
        return Ok(exit::OK);
    }
    match logs {
        None => context.printer.note("this server keeps no log that could be asked"),
        Some(lines) => {
            let text: String = lines.iter().map(line).collect();
            context.printer.data(text.as_bytes())?;
        }
    }
    if !related.is_empty() {
        context.printer.data(table::rows(["ABOUT", "WHAT"], &related, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

/// A line of the log, on one line, without anything that drives a terminal.
fn line(event: &TraceEvent) -> String {
    let time = Timestamp::from_millisecond(event.timestamp)
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%S.%3fZ").to_string());
    let message: String = event.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}  {:5}  {message}\n", time.unwrap_or_default(), event.level.to_string())
}

fn related(resources: &RelatedResources) -> Vec<[String; 2]> {
    let row = |kind: &str, what: String| [kind.to_owned(), what];
    let executions = resources.executions.iter().map(|execution| {
        let id = Short(execution.execution_id);
        row("execution", format!("{id}  {}  {}", execution.status, execution.command))
    });
    let users = resources.users.iter().map(|user| row("user", format!("{}  {}", user.email, user.role)));
    let locks = resources.locks.iter().map(|lock| row("lock", lock.name.clone()));
    let secrets = resources.secrets.iter().map(|secret| row("secret", secret.name.clone()));
    let images = resources.images.iter().map(|image| row("image", image.image.clone()));
    executions.chain(users).chain(locks).chain(secrets).chain(images).collect()
}
