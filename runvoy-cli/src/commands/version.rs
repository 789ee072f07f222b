//! `runvoy version`.

use super::Context;
use crate::args::VersionArgs;
use crate::error::CliError;
use crate::exit;

/// The command. Starts nothing and reads nothing.
pub(crate) fn version(context: &Context, args: &VersionArgs) -> Result<u8, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if args.output.json() {
        format!(r#"{{"version":"{version}"}}"#)
    } else {
        format!("runvoy {version}")
    };
    context.printer.data_line(&text)?;
    Ok(exit::OK)
}
