//! The real binary against a server that does as a test tells it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod audit;
mod common;

mod config;
mod errors;
mod health;
mod policies;
mod records;
mod run;
mod secrets;
mod trace;

/// The execution of every script.
const ID: &str = "0f5ac3de00000000000000000000abcd";

/// The answer to a start.
fn accepted() -> common::Answer {
    common::Answer::json(202, &format!(r#"{{"execution_id":"{ID}","log_url":"","status":"STARTING"}}"#))
}

/// A `block` event with its cursor after it.
fn block(stream: &str, cursor: u64, json: &str) -> String {
    format!(
        "event: block\nid: {cursor}\ndata: {{\"first\":0,\"timestamp\":1767607201123,\"stream\":\"{stream}\",{json}}}\n\n"
    )
}

/// The `end` event.
fn end(status: &str, reason: &str, exit_code: &str) -> String {
    format!(
        "event: end\ndata: {{\"status\":\"{status}\",\"status_reason\":\"{reason}\",\"exit_code\":{exit_code},\"complete\":true}}\n\n"
    )
}

/// A record.
fn record(status: &str, reason: &str, exit_code: &str) -> common::Answer {
    common::Answer::json(
        200,
        &format!(
            r#"{{"execution_id":"{ID}","created_by":"a@b","owned_by":["a@b"],"command":"make test","image_id":"",
            "status":"{status}","status_reason":{reason},"status_detail":null,"exit_code":{exit_code},
            "created_at":"2026-01-05T10:00:00Z","started_at":"2026-01-05T10:00:01Z","completed_at":null,
            "timeout":3600,"grace":30,"stopped_by":null,"log_events":null,"log_bytes":null,"log_replacements":null,
            "log_hash":null,"created_by_request_id":"{ID}","modified_by_request_id":"{ID}","cloud":"LOCAL"}}"#
        ),
    )
}
