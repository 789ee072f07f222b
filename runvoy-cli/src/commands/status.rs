//! `runvoy status`: one record.

use runvoy_core::api::{ExecutionRecord, HolderData};

use super::{Context, print_record};
use crate::args::StatusArgs;
use crate::duration;
use crate::error::CliError;
use crate::exit;
use crate::printer::Printer;
use crate::table;

/// The command.
pub(crate) async fn status(context: &Context, args: &StatusArgs) -> Result<u8, CliError> {
    let record = context.client()?.execution(&args.id).await?;
    print_record(context.printer, &record, args.output.json())?;
    Ok(exit::OK)
}

/// A place in a line, for people.
pub(crate) fn queued(position: usize, holder: Option<&HolderData>) -> String {
    match (position, holder) {
        (0, _) | (_, None) => "next".to_owned(),
        (position, Some(holder)) => {
            format!("position {position}, behind {} ({:.8})", holder.user, holder.execution_id.to_string())
        }
    }
}

/// The secrets of an execution, with the versions that it was given.
fn secrets(record: &ExecutionRecord) -> Option<String> {
    let shown = record.secrets.iter().map(|secret| match secret.version {
        Some(version) => format!("{} (version {version})", secret.name),
        None => secret.name.to_string(),
    });
    Some(shown.collect::<Vec<_>>().join(", ")).filter(|shown| !shown.is_empty())
}

/// A record for people: a field a line, empty ones left out.
pub(crate) fn print(printer: Printer, record: &ExecutionRecord) -> Result<(), CliError> {
    let time = |time: Option<jiff::Timestamp>| time.map(crate::time::shown);
    let took = record.started_at.zip(record.completed_at).map(|(from, to)| {
        let seconds = (to.as_millisecond() - from.as_millisecond()) / 1000;
        duration::show(u64::try_from(seconds).unwrap_or(0))
    });
    let fields = [
        ("id", Some(record.execution_id.to_string())),
        ("status", Some(record.status.to_string())),
        ("reason", record.status_reason.map(|reason| reason.to_string())),
        ("detail", record.status_detail.clone()),
        ("exit code", record.exit_code.map(|code| code.to_string())),
        ("command", Some(record.command.clone())),
        ("image", Some(record.image_id.clone())),
        ("repository", record.git_repo.clone()),
        ("ref", record.git_ref.clone()),
        ("path", record.git_path.clone()),
        ("commit", record.git_commit.clone()),
        ("code", record.code.map(|digest| digest.to_string())),
        ("user", Some(record.created_by.to_string())),
        ("lock", record.lock.as_ref().map(|lock| lock.name.to_string())),
        ("lock token", record.lock.as_ref().and_then(|lock| lock.token).map(|token| token.to_string())),
        ("in line", record.position.map(|position| queued(position, record.holder.as_ref()))),
        (
            "lock lost to",
            record.lock.as_ref().and_then(|lock| lock.abandoned_by.as_ref()).map(ToString::to_string),
        ),
        (
            "lock taken from",
            record.lock.as_ref().and_then(|lock| lock.after_abandoned).map(|id| id.to_string()),
        ),
        ("secrets", secrets(record)),
        ("created", time(Some(record.created_at))),
        ("started", time(record.started_at)),
        ("completed", time(record.completed_at)),
        ("took", took),
        ("timeout", Some(duration::show(record.timeout))),
        ("stopped by", record.stopped_by.as_ref().map(ToString::to_string)),
        ("log lines", record.log_events.map(|events| events.to_string())),
        ("log bytes", record.log_bytes.map(|bytes| bytes.to_string())),
        ("masked", record.log_replacements.filter(|count| *count > 0).map(|count| count.to_string())),
    ];
    printer.data(table::fields(&fields).as_bytes())
}
