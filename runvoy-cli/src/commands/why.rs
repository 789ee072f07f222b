//! `runvoy why`: why an execution is where it is.

use runvoy_core::api::{PhaseData, WhyAnswer};

use super::Context;
use super::status::queued;
use crate::args::WhyArgs;
use crate::error::CliError;
use crate::{duration, exit, table};

/// The command.
pub(crate) async fn why(context: &Context, args: &WhyArgs) -> Result<u8, CliError> {
    let answer = context.client()?.get::<WhyAnswer>(&format!("/executions/{}/why", args.id.as_str())).await?;
    let text = if args.output.json() { answer.json() } else { text(&answer.value).into_bytes() };
    context.printer.data(&text)?;
    Ok(exit::OK)
}

/// The answer for people: a field a line, what there is nothing to say of left out.
fn text(why: &WhyAnswer) -> String {
    let waiting = why.waiting.as_ref();
    let usual = why.usual.as_ref();
    let mut fields = vec![
        ("id", Some(why.execution_id.to_string())),
        ("status", Some(why.status.to_string())),
        ("verdict", Some(why.verdict.clone())),
        ("reason", why.status_reason.map(|reason| reason.to_string())),
        ("why", Some(why.summary.clone())),
        ("what to do", why.remedy.clone()),
        ("policy", why.policy.clone()),
        ("lock", waiting.map(|waiting| waiting.lock.to_string())),
        ("in line", waiting.map(|waiting| queued(waiting.position, waiting.holder.as_ref()))),
        ("usual", usual.map(|usual| format!("{}, median of {}", shown(usual.median_ms), usual.runs))),
    ];
    fields.extend(why.phases.iter().map(|phase| phase_field(why, phase)));
    table::fields(&fields)
}

fn phase_field<'a>(why: &WhyAnswer, phase: &'a PhaseData) -> (&'a str, Option<String>) {
    let mark = if why.slow.as_ref() == Some(&phase.phase) { ", slow" } else { "" };
    (&phase.phase, Some(format!("{}{mark}", shown(phase.ms))))
}

fn shown(ms: u64) -> String {
    if ms < 1000 { format!("{ms}ms") } else { duration::show(ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_one_thing_a_line() {
        let json = r#"{"execution_id":"0f5ac3de00000000000000000000abcd","status":"QUEUED","status_reason":null,
            "verdict":"waits","summary":"it waits","remedy":"wait","slow":"queued",
            "waiting":{"lock":"prod","position":2,"since":"2026-01-05T10:00:00Z","max_wait":3600,"holder":
                {"execution_id":"1f5ac3de00000000000000000000abcd","user":"a@b","since":"2026-01-05T09:00:00Z"}},
            "usual":{"median_ms":185000,"runs":5},
            "phases":[{"phase":"queued","ms":61000},{"phase":"starting","ms":120}]}"#;
        insta::assert_snapshot!(text(&serde_json::from_str(json).unwrap()), @"
        id:         0f5ac3de00000000000000000000abcd
        status:     QUEUED
        verdict:    waits
        why:        it waits
        what to do: wait
        lock:       prod
        in line:    position 2, behind a@b (1f5ac3de)
        usual:      3m05s, median of 5
        queued:     1m01s, slow
        starting:   120ms
        ");
    }
}
