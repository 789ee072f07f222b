//! `runvoy wait`: block until an execution ends, exit as its command did.

use super::run::Short;
use super::{Context, print_record};
use crate::args::{OutputFormat, WaitArgs};
use crate::error::{CliError, Kind};
use crate::outcome::Ending;
use crate::signals::Signals;

/// The command.
pub(crate) async fn wait(context: &Context, args: &WaitArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let printer = context.printer;
    let mut signals = Signals::catch()?;
    let mut progress = printer.progress(&format!("waiting for {}", args.id.as_str()));
    let ended = tokio::select! {
        ended = client.wait(&args.id, args.timeout) => ended,
        () = signals.next() => Err(interrupted(&format!("{} goes on", args.id.as_str()))),
    };
    progress.clear();
    let Some(record) = ended? else {
        let what = format!("{} has not ended in time; it goes on", args.id.as_str());
        return Err(CliError::new(Kind::TryLater, what).hint("wait longer, or stop it with `runvoy kill`"));
    };
    if let Some(format) = args.output {
        print_record(printer, &record, format == OutputFormat::Json)?;
    }
    let verdict = Ending::from(&record.value).verdict();
    if let Some(line) = &verdict.line {
        printer.verdict(&format!("runvoy: {}: {line}", Short(record.value.execution_id)));
    }
    Ok(verdict.code)
}

/// Somebody waits no longer; what becomes of the execution is theirs to know.
pub(super) fn interrupted(what: &str) -> CliError {
    CliError::new(Kind::Interrupted, "interrupted").hint(what)
}
