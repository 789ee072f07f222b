//! `runvoy kill`: stop, and wait until it is stopped.

use runvoy_core::id::IdPrefix;

use super::run::Short;
use super::wait::interrupted;
use super::{Context, print_record};
use crate::args::KillArgs;
use crate::client::Killed;
use crate::error::CliError;
use crate::exit;
use crate::signals::Signals;

/// The command.
pub(crate) async fn kill(context: &Context, args: &KillArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let printer = context.printer;
    let id = client.whole_id(&args.id).await?;
    let killed = client.kill(id, args.grace.map(|grace| grace.as_secs())).await?;
    let shown = Short(id);
    if args.no_wait {
        match killed {
            Killed::Stopping(answer) if args.output.json() => printer.data(&answer)?,
            Killed::Stopping(_) => printer.note(&format!("{shown} is being stopped")),
            // Also the answer to a second kill: what ended it is told by its record.
            Killed::Over if args.output.json() => {
                printer.data(&client.execution(&IdPrefix::from(id)).await?.json())?;
            }
            Killed::Over => printer.note(&format!("{shown} is over or being stopped already")),
        }
        return Ok(exit::OK);
    }
    let (mut signals, whole) = (Signals::catch()?, IdPrefix::from(id));
    // The same answer tells of an end, and of a kill that is under way.
    let is_told = matches!(killed, Killed::Over);
    let over = is_told && client.execution(&whole).await?.value.status.is_terminal();
    let mut progress = printer.progress(&format!("stopping {shown}"));
    let record = tokio::select! {
        record = client.wait(&whole, None) => record,
        () = signals.next() => Err(interrupted(&format!("{shown} is being stopped all the same"))),
    };
    progress.clear();
    let record = record?;
    if args.output.json() {
        record.iter().try_for_each(|record| print_record(printer, record, true))?;
    }
    let status = record.map(|record| record.value.status.to_string()).unwrap_or_default();
    printer.note(&if over {
        format!("{shown} was over already: {status}")
    } else {
        format!("{shown} is stopped: {status}")
    });
    Ok(exit::OK)
}
