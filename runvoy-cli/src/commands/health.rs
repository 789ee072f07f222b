//! `runvoy health`: whether the server is well.

use runvoy_core::api::{Health, HealthIssue, HealthReport, ReconcileAnswer};

use super::Context;
use crate::args::{HealthArgs, HealthCommand, ReconcileArgs};
use crate::error::{CliError, Kind};
use crate::{exit, table};

/// The command.
pub(crate) async fn health(context: &Context, args: &HealthArgs) -> Result<u8, CliError> {
    if let Some(HealthCommand::Reconcile(args)) = &args.command {
        return reconcile(context, args).await;
    }
    let health = context.client()?.get::<Health>("/health").await?;
    if args.output.json() {
        context.printer.data(&health.json())?;
    } else {
        let health = health.value;
        let fields = [
            ("status", Some(health.status)),
            ("version", Some(health.version)),
            ("provider", Some(health.provider)),
            ("region", health.region),
        ];
        context.printer.data(table::fields(&fields).as_bytes())?;
    }
    Ok(exit::OK)
}

/// Has the server mend what was left half done.
async fn reconcile(context: &Context, args: &ReconcileArgs) -> Result<u8, CliError> {
    let nothing = serde_json::json!({});
    let answer = context.client()?.post::<ReconcileAnswer>("/health/reconcile", &nothing).await?;
    let report = &answer.value.report;
    if args.output.json() {
        context.printer.data(&answer.json())?;
    } else {
        context.printer.data(table::fields(&counts(report)).as_bytes())?;
        let row = |issue: &HealthIssue| {
            let what = format!("{} {}", issue.resource_type, issue.resource_id);
            [issue.severity.clone(), what, issue.message.clone(), issue.action.clone()]
        };
        let issues: Vec<_> = report.issues.iter().map(row).collect();
        if !issues.is_empty() {
            let head = ["SEVERITY", "WHAT", "WHY", "DONE"];
            context.printer.data(table::rows(head, &issues, table::width()).as_bytes())?;
        }
    }
    match report.error_count {
        0 => Ok(exit::OK),
        left => {
            let what = format!("{left} of these could not be mended yet");
            Err(CliError::new(Kind::TryLater, what)
                .hint("the server tries again every few seconds; its log says why"))
        }
    }
}

fn counts(report: &HealthReport) -> [(&'static str, Option<String>); 6] {
    let people = &report.authorizer_status;
    [
        ("executions", Some(report.compute_status.total_resources.to_string())),
        ("secrets", Some(report.secrets_status.total_secrets.to_string())),
        ("people", Some(people.total_users_checked.to_string())),
        ("mended", Some(report.reconciled_count.to_string())),
        ("not yet", Some(report.error_count.to_string())),
        ("at", Some(report.timestamp.to_string())),
    ]
}
