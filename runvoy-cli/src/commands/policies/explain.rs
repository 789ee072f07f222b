use std::fmt::Write as _;

use runvoy_core::api::{PoliciesAnswer, PolicyData};
use serde_json::{Value, json};

use super::place;
use crate::args::PoliciesExplainArgs;
use crate::commands::Context;
use crate::error::{CliError, Kind};
use crate::{exit, table, time};

/// Every decision of a request from the audit log, with the policies from what is in force.
pub(super) async fn explain(context: &Context, args: PoliciesExplainArgs) -> Result<u8, CliError> {
    let client = context.client()?;
    let request = args.request;
    let records = client.lines(&format!("/audit?request={request}")).await?.all().await?;
    if records.is_empty() {
        let what = format!("the audit log has no decision of the request {request}");
        return Err(
            CliError::new(Kind::NotFound, what).hint("lists and status are not recorded; `runvoy audit` is")
        );
    }
    let policies = match client.get::<PoliciesAnswer>("/policies").await {
        Ok(answer) => answer.value.policies,
        // Who may read the audit log need not be allowed to read policies.
        Err(error) if error.kind == Kind::Denied => Vec::new(),
        Err(error) => return Err(error),
    };
    let named = |record: &Value| find(record, &policies);
    if args.output.json() {
        let mut deciding: Vec<_> = records.iter().filter_map(named).collect();
        deciding.dedup_by_key(|policy| &policy.id);
        let document = json!({"request_id": request, "records": records, "policies": deciding});
        context.printer.data_line(&document.to_string())?;
    } else {
        let all: Vec<_> = records.iter().map(|record| shown(record, named(record))).collect();
        context.printer.data(all.join("\n").as_bytes())?;
    }
    Ok(exit::OK)
}

fn find<'a>(record: &Value, policies: &'a [PolicyData]) -> Option<&'a PolicyData> {
    let id = record.get("policy")?.as_str()?;
    policies.iter().find(|policy| policy.id == id)
}

/// A record for people, and the text of the policy that decided.
fn shown(record: &Value, policy: Option<&PolicyData>) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    if record.get("damaged").is_some() {
        let seq = record.get("seq").unwrap_or(&Value::Null);
        return format!("record {seq} is damaged: `runvoy audit verify` says more\n");
    }
    let is_denied = text("kind").is_some_and(|kind| kind == "denied");
    let deciding = match (text("policy"), policy) {
        (Some(id), Some(policy)) => Some(format!("{id} ({})", place(policy))),
        (Some(id), None) => Some(format!("{id}, which is not loaded now")),
        (None, _) => is_denied.then(|| "none: no policy allows it".to_owned()),
    };
    let mut out = table::fields(&[
        ("when", text("at").map(|at| at.parse().map_or(at, time::shown))),
        ("who", text("user")),
        ("from", text("address")),
        (
            "what",
            text("action").zip(text("resource")).map(|(action, resource)| format!("{action} on {resource}")),
        ),
        ("decision", text("kind")),
        ("policy", deciding),
        ("detail", text("detail")),
    ]);
    for line in policy.iter().flat_map(|policy| policy.text.lines()) {
        let _ = writeln!(out, "    {}", line.trim_end());
    }
    out
}
