//! `runvoy list`: records, newest first.

use std::io::{self, IsTerminal as _};

use runvoy_core::api::ExecutionSummary;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::state::{Reason, Status};

use super::Context;
use super::run::Short;
use crate::args::ListArgs;
use crate::error::CliError;
use crate::{duration, exit, table, time};

/// The command.
pub(crate) async fn list(context: &Context, args: &ListArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let list = client.get::<Vec<ExecutionSummary>>(&format!("/executions?{}", query(args))).await?;
    if args.output.json() {
        context.printer.data(&list.json())?;
        return Ok(exit::OK);
    }
    if list.value.is_empty() {
        context.printer.note("no executions");
        return Ok(exit::OK);
    }
    let now = SystemClock.now();
    let rows: Vec<_> = list.value.iter().map(|execution| row(execution, now)).collect();
    let head = ["ID", "STATUS", "EXIT", "STARTED", "TOOK", "USER", "COMMAND"];
    context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    let is_full = !args.all && usize::try_from(args.limit).is_ok_and(|limit| rows.len() >= limit);
    if is_full && io::stderr().is_terminal() {
        context.printer.note(&format!("note: these are the newest {}; `--all` shows every one", rows.len()));
    }
    Ok(exit::OK)
}

fn query(args: &ListArgs) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    // To the API, 0 is all.
    query.append_pair("limit", &if args.all { 0 } else { args.limit }.to_string());
    if !args.status.is_empty() {
        let names: Vec<_> = args.status.iter().map(|status| status.as_str()).collect();
        query.append_pair("status", &names.join(","));
    }
    if let Some(user) = &args.user {
        query.append_pair("user", user);
    }
    if let Some(lock) = &args.lock {
        query.append_pair("lock", lock.as_str());
    }
    query.finish()
}

fn row(execution: &ExecutionSummary, now: jiff::Timestamp) -> [String; 7] {
    let status = execution.status;
    let none = || String::from("-");
    let has_begun = status != Status::Starting && status != Status::Queued && !execution.never_started;
    let until = execution.completed_at.unwrap_or(now);
    let seconds = (until.as_millisecond() - execution.started_at.as_millisecond()) / 1000;
    let took = duration::show(u64::try_from(seconds).unwrap_or(0));
    // The list has a number for every one.
    let is_known = status.is_terminal() && has_begun && !execution.status_reason.is_some_and(has_no_code);
    [
        Short(execution.execution_id).to_string(),
        status.to_string(),
        if is_known { execution.exit_code.to_string() } else { none() },
        if has_begun { time::shown(execution.started_at) } else { none() },
        if has_begun { took } else { none() },
        execution.created_by.to_string(),
        execution.command.clone(),
    ]
}

/// Whether the reason says that the command did not run, or that nobody knows how it ended.
fn has_no_code(reason: Reason) -> bool {
    match reason {
        Reason::WorkspaceFailed
        | Reason::StartFailed
        | Reason::ImageUnavailable
        | Reason::Lost
        | Reason::LockHeld
        | Reason::QueueTimeout
        | Reason::Denied => true,
        Reason::Exited
        | Reason::Killed
        | Reason::TimedOut
        | Reason::LogLimit
        | Reason::OomKilled
        | Reason::StoppedOutside => false,
    }
}
