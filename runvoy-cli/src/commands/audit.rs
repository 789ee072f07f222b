//! `runvoy audit`: who was allowed or denied what, and whether that record is whole.

use runvoy_core::api::{AuditHead, AuditVerification};
use runvoy_core::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::Context;
use crate::args::{AuditArgs, AuditCommand, AuditHeadArgs, AuditVerifyArgs, LinesFormat, OutputFormat};
use crate::client::Lines;
use crate::error::{CliError, Kind};
use crate::{exit, table};

/// The command.
pub(crate) async fn audit(context: &Context, args: &AuditArgs) -> Result<u8, CliError> {
    match &args.command {
        None => list(context, args).await,
        Some(AuditCommand::Head(args)) => head(context, args).await,
        Some(AuditCommand::Verify(args)) => verify(context, args).await,
    }
}

async fn list(context: &Context, args: &AuditArgs) -> Result<u8, CliError> {
    let path = format!("/audit?{}", query(args)?);
    let client = context.client()?;
    let mut lines = client.lines(&path).await?;
    match args.output {
        LinesFormat::Json => {
            while let Some(bytes) = lines.next().await? {
                context.printer.data(&bytes)?;
            }
        }
        LinesFormat::Table => table(context, &mut lines).await?,
    }
    Ok(exit::OK)
}

/// Prints records as they come; columns are as wide as those so far need.
async fn table(context: &Context, lines: &mut Lines<'_>) -> Result<(), CliError> {
    let head = ["SEQ", "TIME", "USER", "FROM", "WHAT", "ACTION", "RESOURCE", "POLICY", "DETAIL"];
    let mut columns = table::Columns::under(head, table::width());
    let mut any = false;
    while let Some(bytes) = lines.next().await? {
        let rows: Vec<_> = lines.values(&bytes)?.iter().map(row).collect();
        any |= !rows.is_empty();
        context.printer.data(columns.lines(&rows).as_bytes())?;
    }
    if !any {
        context.printer.note("no audit records");
    }
    Ok(())
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

async fn head(context: &Context, args: &AuditHeadArgs) -> Result<u8, CliError> {
    let head = context.client()?.get::<AuditHead>("/audit/head").await?;
    match args.output {
        OutputFormat::Json => context.printer.data(&head.json())?,
        OutputFormat::Table => {
            let AuditHead { seq, hash, at, mac } = head.value;
            let fields = [
                ("record", Some(seq.to_string())),
                ("hash", Some(hash)),
                ("at", Some(at.to_string())),
                ("mac", mac),
            ];
            context.printer.data(table::fields(&fields).as_bytes())?;
        }
    }
    Ok(exit::OK)
}

async fn verify(context: &Context, args: &AuditVerifyArgs) -> Result<u8, CliError> {
    let mut path = "/audit/verify".to_owned();
    if let Some(file) = &args.head {
        let head = kept(file)?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("seq", &head.seq.to_string()).append_pair("hash", &head.hash);
        path = format!("{path}?{}", query.finish());
    }
    let report = {
        let _progress = context.printer.progress("checking the audit log");
        context.client()?.get::<AuditVerification>(&path).await?
    };
    if args.output.json() {
        context.printer.data(&report.json())?;
    } else {
        context.printer.data(shown(&report.value).as_bytes())?;
    }
    match report.value.problem {
        None => {
            if report.value.unauthentic > 0 {
                context.printer.warn(LEFT_OUT);
            }
            Ok(exit::OK)
        }
        Some(problem) => {
            Err(CliError::new(Kind::Refused, format!("the audit log is not whole: {}", problem.message))
                .hint("compare it with a backup"))
        }
    }
}

const LEFT_OUT: &str = "checkpoints that this master key did not make prove nothing, and were left out; \
    the records agree with them, and other checkpoints cover them";

fn shown(report: &AuditVerification) -> String {
    let kept = report.kept.as_ref().map(|kept| {
        let how =
            if kept.agrees { "is in the log, and all before it" } else { "is not in the log as it was" };
        format!("record {} {how}", kept.seq)
    });
    let named = report.unauthentic_checkpoints.iter().map(|one| {
        let how = if one.agrees { "as the record is" } else { "not as the record is" };
        format!("of record {} at {} ({how})", one.seq, one.at)
    });
    let named: Vec<_> = named.collect();
    let more = if (named.len() as u64) < report.unauthentic { ", ..." } else { "" };
    let unauthentic = format!("{}: {}{more}", report.unauthentic, named.join(", "));
    table::fields(&[
        ("whole", Some(if report.whole { "yes" } else { "no" }.to_owned())),
        ("records in order", Some(report.records.to_string())),
        ("checkpoints that agree", Some(report.checkpoints.to_string())),
        ("checkpoints not authentic", (report.unauthentic > 0).then_some(unauthentic)),
        ("kept head", kept),
        ("records not anchored", Some(report.unanchored.to_string())),
        ("broken at", report.problem.as_ref().map(|problem| format!("record {}", problem.seq))),
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
