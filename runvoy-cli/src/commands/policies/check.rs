use std::path::Path;

use runvoy_core::api::PolicyData;
use runvoy_core::cedar::{CedarAuthorizer, PolicyError};
use runvoy_local::{PolicyDirError, read_policies};

use super::rows;
use crate::args::PoliciesCheckArgs;
use crate::commands::Context;
use crate::error::{CliError, Kind};
use crate::exit;

/// Reads and checks as a server does that is started with this directory.
pub(super) fn check(context: &Context, args: &PoliciesCheckArgs) -> Result<u8, CliError> {
    let files = read_policies(&args.dir).map_err(|e| refused(&args.dir, e))?;
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let checked = CedarAuthorizer::check(&files).map_err(|e| refused(&args.dir, e.into()))?;
    let (policies, warnings) = checked;
    for warning in &warnings {
        context.printer.warn(&at(&args.dir, warning));
    }
    let policies: Vec<_> = policies.into_iter().map(PolicyData::from).collect();
    if args.output.json() {
        let text = serde_json::to_string(&policies)
            .map_err(|e| CliError::new(Kind::NotRun, "the policies cannot be written as JSON").because(e))?;
        context.printer.data_line(&text)?;
    } else if policies.is_empty() {
        context.printer.note(&format!("there is no policy in {}", args.dir.display()));
    } else {
        context.printer.data(rows(&policies).as_bytes())?;
    }
    Ok(exit::OK)
}

fn refused(dir: &Path, error: PolicyDirError) -> CliError {
    match error {
        PolicyDirError::Refused(error) => CliError::new(Kind::Refused, at(dir, &error)),
        PolicyDirError::Unreadable { path, source } => {
            CliError::new(Kind::Usage, format!("cannot read {}: {source}", path.display())).because(source)
        }
    }
}

/// As compilers write it, so that editors find the place.
fn at(dir: &Path, error: &PolicyError) -> String {
    format!("{}:{}: {}", dir.join(&error.file).display(), error.line, error.reason)
}
