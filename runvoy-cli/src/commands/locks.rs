//! `runvoy locks`: who holds what, who waits, and taking a lock away.

use runvoy_core::api::{HolderData, LockData, LocksAnswer, ReleaseAnswer};
use runvoy_core::id::LockName;

use super::Context;
use super::run::Short;
use crate::args::{LocksCommand, LocksListArgs, LocksReleaseArgs, LocksShowArgs};
use crate::error::CliError;
use crate::time::shown as time;
use crate::{exit, table};

/// The command.
pub(crate) async fn locks(context: &Context, command: &LocksCommand) -> Result<u8, CliError> {
    match command {
        LocksCommand::List(args) => list(context, *args).await,
        LocksCommand::Show(args) => show(context, args).await,
        LocksCommand::Release(args) => release(context, args).await,
    }
}

async fn list(context: &Context, args: LocksListArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<LocksAnswer>("/locks").await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else if answer.value.locks.is_empty() {
        context.printer.note("no lock is held");
    } else {
        let rows: Vec<_> = answer.value.locks.iter().map(row).collect();
        let head = ["LOCK", "HOLDER", "USER", "SINCE", "LAST SEEN", "WAITING"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

fn row(lock: &LockData) -> [String; 6] {
    let holder = |show: fn(&HolderData) -> String| lock.holder.as_ref().map_or_else(|| "-".to_owned(), show);
    [
        lock.name.to_string(),
        holder(|holder| Short(holder.execution_id).to_string()),
        holder(|holder| holder.user.to_string()),
        holder(|holder| time(holder.since)),
        holder(|holder| holder.last_seen.map_or_else(|| "-".to_owned(), time)),
        lock.waiters.len().to_string(),
    ]
}

async fn show(context: &Context, args: &LocksShowArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<LockData>(&path(&args.name)).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
        return Ok(exit::OK);
    }
    let lock = &answer.value;
    let holder = lock.holder.as_ref();
    let fields = [
        ("lock", Some(lock.name.to_string())),
        ("holder", Some(holder.map_or_else(|| "nobody".to_owned(), |h| Short(h.execution_id).to_string()))),
        ("user", holder.map(|holder| holder.user.to_string())),
        ("since", holder.map(|holder| time(holder.since))),
        ("last seen", holder.and_then(|holder| holder.last_seen).map(time)),
        ("last token", Some(lock.token.to_string())),
        ("waiting", Some(lock.waiters.len().to_string())),
    ];
    context.printer.data(table::fields(&fields).as_bytes())?;
    if !lock.waiters.is_empty() {
        let rows: Vec<_> = lock
            .waiters
            .iter()
            .map(|waiter| {
                let id = Short(waiter.execution_id).to_string();
                [waiter.position.to_string(), id, waiter.user.to_string(), time(waiter.since)]
            })
            .collect();
        let head = ["POSITION", "ID", "USER", "SINCE"];
        context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    }
    Ok(exit::OK)
}

async fn release(context: &Context, args: &LocksReleaseArgs) -> Result<u8, CliError> {
    let abandon = if args.abandon { "?abandon=true" } else { "" };
    let path = format!("{}{abandon}", path(&args.name));
    let answer = context.client()?.delete::<ReleaseAnswer>(&path).await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
        return Ok(exit::OK);
    }
    let holder = &answer.value.holder;
    let (name, id) = (&args.name, Short(holder.execution_id));
    context.printer.note(&if args.abandon {
        format!(
            "{name} is taken from {id} of {}, which may still run: `runvoy kill {id}` stops it",
            holder.user
        )
    } else {
        format!("{id} of {} is being stopped; {name} is free when it is gone", holder.user)
    });
    Ok(exit::OK)
}

fn path(name: &LockName) -> String {
    format!("/locks/{}", name.as_str().replace('/', "%2F"))
}
