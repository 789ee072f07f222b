//! `runvoy audit`: who was allowed or denied what, and whether that record is whole.

use runvoy_core::api::{AuditHead, AuditVerification};
use runvoy_core::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::Context;
use crate::args::{AuditArgs, AuditCommand, AuditVerifyArgs};
use crate::error::{CliError, Kind};
use crate::{exit, table};

/// The command.
pub(crate) async fn audit(context: &Context, args: &AuditArgs) -> Result<u8, CliError> {
    match &args.command {
        None => list(context, args).await,
        Some(AuditCommand::Head(_)) => {
            let head = context.client()?.get::<AuditHead>("/audit/head").await?;
            context.printer.data(&head.json())?;
            Ok(exit::OK)
        }
        Some(AuditCommand::Verify(args)) => verify(context, args).await,
    }
}

async fn list(context: &Context, args: &AuditArgs) -> Result<u8, CliError> {
    let path = format!("/audit?{}", query(args)?);
    let records = context.client()?.lines(&path).await?;
    if args.output.json() {
        context.printer.data(records.bytes())?;
        return Ok(exit::OK);
    }
    let rows: Vec<_> = records.value.iter().map(row).collect();
    if rows.is_empty() {
        context.printer.note("no audit records");
        return Ok(exit::OK);
    }
    let head = ["SEQ", "TIME", "USER", "FROM", "WHAT", "ACTION", "RESOURCE", "POLICY", "DETAIL"];
    context.printer.data(table::rows(head, &rows, table::width()).as_bytes())?;
    Ok(exit::OK)
}

fn query(args: &AuditArgs) -> Result<String, CliError> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(user) = &args.user {
        query.append_pair("user", user);
    }
    if let Some(action) = &args.action {
        query.append_pair("action", action);
    }
    if let Some(since) = &args.since {
        let millis = super::since(since)?;
        let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_else(|_| SystemClock.now());
        query.append_pair("since", &time.to_string());
    }
    Ok(query.finish())
}

fn row(record: &Value) -> [String; 9] {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let seq = record.get("seq").and_then(Value::as_u64).unwrap_or(0).to_string();
    let kind = if record.get("damaged").is_some() { "DAMAGED".to_owned() } else { text("kind") };
    let time = text("at").parse::<jiff::Timestamp>();
    let time = time.map_or_else(|_| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    let [user, address, action] = ["user", "address", "action"].map(text);
    let [resource, policy, detail] = ["resource", "policy", "detail"].map(text);
    [seq, time, user, address, kind, action, resource, policy, detail]
}

async fn verify(context: &Context, args: &AuditVerifyArgs) -> Result<u8, CliError> {
    let mut path = "/audit/verify".to_owned();
    if let Some(file) = &args.head {
        let head = kept(file)?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("seq", &head.seq.to_string()).append_pair("hash", &head.hash);
        path = format!("{path}?{}", query.finish());
    }
    let report = context.client()?.get::<AuditVerification>(&path).await?;
    if args.output.json() {
        context.printer.data(&report.json())?;
    } else {
        context.printer.data(shown(&report.value).as_bytes())?;
    }
    match report.value.problem {
        None => Ok(exit::OK),
        Some(problem) => {
            Err(CliError::new(Kind::Refused, format!("the audit log is not whole: {}", problem.message))
                .hint("compare it with a backup"))
        }
    }
}

fn shown(report: &AuditVerification) -> String {
    table::fields(&[
        ("whole", Some(if report.whole { "yes" } else { "no" }.to_owned())),
        ("records in order", Some(report.records.to_string())),
        ("checkpoints", Some(report.checkpoints.to_string())),
        ("not anchored yet", Some(report.unanchored.to_string())),
        ("broken at", report.problem.as_ref().map(|problem| problem.seq.to_string())),
    ])
}

/// A head that was kept elsewhere.
fn kept(file: &std::path::Path) -> Result<AuditHead, CliError> {
    let what = |how: &str| format!("{} {how}", file.display());
    let bytes = std::fs::read(file)
        .map_err(|e| CliError::new(Kind::Usage, what(&format!("cannot be read: {e}"))).because(e))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| CliError::new(Kind::Usage, what("is not what `runvoy audit head` printed")).because(e))
}
