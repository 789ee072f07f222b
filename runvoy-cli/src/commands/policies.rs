//! `runvoy policies`: what is in force, what would be, and what decided.

#[cfg(all(feature = "local", target_os = "linux"))]
mod check;
mod explain;

use runvoy_core::api::{PoliciesAnswer, PolicyData};

use super::Context;
use crate::args::{PoliciesCommand, PoliciesListArgs};
use crate::error::CliError;
use crate::{exit, table};

/// The commands.
pub(crate) async fn policies(context: &Context, command: &PoliciesCommand) -> Result<u8, CliError> {
    match command {
        PoliciesCommand::List(args) => list(context, *args).await,
        #[cfg(all(feature = "local", target_os = "linux"))]
        PoliciesCommand::Check(args) => check::check(context, args),
        PoliciesCommand::Explain(args) => explain::explain(context, *args).await,
    }
}

async fn list(context: &Context, args: PoliciesListArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<PoliciesAnswer>("/policies").await?;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else if answer.value.policies.is_empty() {
        context.printer.note("the server shows no policies");
    } else {
        context.printer.data(rows(&answer.value.policies).as_bytes())?;
    }
    Ok(exit::OK)
}

fn rows(policies: &[PolicyData]) -> String {
    let row = |policy: &PolicyData| [policy.effect.to_string(), policy.id.clone(), place(policy)];
    let rows: Vec<_> = policies.iter().map(row).collect();
    table::rows(["EFFECT", "POLICY", "FROM"], &rows, table::width())
}

/// Where it stands.
fn place(policy: &PolicyData) -> String {
    policy.file.as_ref().map_or_else(|| "built-in".to_owned(), |file| format!("{file}:{}", policy.line))
}
