//! The documents say what the code does.

#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;

use runvoy_core::api::code;
use runvoy_core::{limits, state};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between `<!-- name:begin -->` and `<!-- name:end -->`.
fn section<'a>(document: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let (_, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (inside, _) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    inside.trim()
}

/// The first cell of every row of a table, without its backticks.
fn first_cells(table: &str) -> BTreeSet<String> {
    let rows = table.lines().skip(2).filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    rows.map(|cell| cell.replace('`', "")).collect()
}

#[test]
fn the_table_of_states_is_the_codes_own() {
    let text = document("ARCHITECTURE.md");
    assert_eq!(section(&text, "states"), state::markdown().trim());
}

#[cfg(feature = "http")]
#[test]
fn every_route_is_documented_and_no_other() {
    let openapi = serde_json::to_value(runvoy_core::http::openapi()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete", "head"] {
            if methods.get(method).is_some() {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let text = document("API.md");
    assert_eq!(first_cells(section(&text, "routes")), routes);
}

#[cfg(feature = "cedar")]
#[test]
fn the_guide_to_policies_has_every_action_and_attribute() {
    use runvoy_core::port::Action;

    let text = document("POLICIES.md");
    let rows: Vec<_> = section(&text, "actions").lines().skip(2).collect();
    let context = |action: Action| if action.has_context() { " yes |" } else { " |" };
    let row = |action: Action| format!("| `{action}` | `{:?}` |{}", action.acts_on(), context(action));
    assert_eq!(rows, Action::ALL.map(row));

    let schema =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cedar/schema.cedarschema"));
    let schema = schema.unwrap();
    let (_, run) = schema.split_once("type Run = {\n").unwrap();
    let (run, _) = run.split_once("};").unwrap();
    let attributes = run.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once("?: "));
    let attributes: Vec<_> = attributes.map(|(name, kind)| format!("| `{name}` | `{kind}` | ")).collect();
    let rows: Vec<_> = section(&text, "context").lines().skip(2).collect();
    assert_eq!(rows.len(), attributes.len());
    for (row, attribute) in rows.iter().zip(&attributes) {
        assert!(row.starts_with(attribute), "{row}: {attribute}");
    }
}

#[cfg(feature = "cedar")]
#[test]
fn the_policy_of_the_guide_is_the_examples_own() {
    use runvoy_core::cedar::CedarAuthorizer;

    let text = document("POLICIES.md");
    let (_, rest) = text.split_once("```cedar\n").unwrap();
    let (policy, _) = rest.split_once("```").unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies/prod-needs-its-lock.cedar");
    let example = std::fs::read_to_string(example).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&example).contains(&words(policy)), "{policy}");
    assert!(CedarAuthorizer::check(&[("guide.cedar", policy)]).is_ok());
}

#[test]
fn every_error_code_is_documented() {
    let text = document("API.md");
    let table = section(&text, "errors");
    let codes = [
        code::INVALID_API_KEY,
        code::API_KEY_REVOKED,
        code::API_KEY_EXPIRED,
        code::INVALID_STREAM_TOKEN,
        code::UPGRADE_REQUIRED,
        code::NOT_IMPLEMENTED,
        code::FORBIDDEN,
        code::INVALID_REQUEST,
        code::INVALID_QUERY,
        code::NOT_FOUND,
        code::SECRET_NOT_FOUND,
        code::SECRET_ALREADY_EXISTS,
        code::CONFLICT,
        code::TOO_MANY_REQUESTS,
        code::METHOD_NOT_ALLOWED,
        code::IDEMPOTENCY_CONFLICT,
        code::LOCK_HELD,
        code::QUEUE_FULL,
        code::TOO_MANY_EXECUTIONS,
        code::SERVICE_UNAVAILABLE,
        code::DATABASE_ERROR,
        code::INTERNAL_ERROR,
    ];
    for code in codes {
        assert!(table.contains(&format!("`{code}`")), "{code}");
    }
}

#[test]
fn the_limits_are_the_codes_own() {
    let text = document("API.md");
    let rows: Vec<_> = section(&text, "limits").lines().skip(2).collect();
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let range = |range: &std::ops::RangeInclusive<u64>| format!("{} to {}", range.start(), range.end());
    let expected = [
        ("command, or its arguments together", kib(limits::COMMAND_BYTES)),
        ("variables", limits::ENV_VARIABLES.to_string()),
        ("names and values of the variables together", kib(limits::ENV_BYTES)),
        ("secrets of a run", limits::SECRETS.to_string()),
        ("value of a secret", kib(limits::SECRET_BYTES)),
        ("description of a secret", kib(limits::SECRET_DESCRIPTION)),
        ("secrets that are kept", limits::STORED_SECRETS.to_string()),
        ("uploaded code", format!("{} MiB", limits::CODE_BYTES >> 20)),
        ("uploads at once", limits::UPLOADS.to_string()),
        ("uploaded code that nobody uses", format!("{} days", limits::CODE_KEPT.as_secs() / 86_400)),
        ("`git_repo`", format!("{} bytes", limits::GIT_REPO)),
        ("`git_ref`", format!("{} bytes", limits::GIT_REF)),
        ("`git_path`", format!("{} bytes", limits::GIT_PATH)),
        ("`image`", format!("{} characters", limits::IMAGE_BYTES)),
        ("`cpu`, units of 1/1024 core", range(&limits::CPU_UNITS)),
        ("`memory`, MiB", range(&limits::MEMORY_MIB)),
        ("request body", kib(limits::BODY_BYTES)),
        ("log of one execution", format!("{} GiB", limits::LOG_BYTES >> 30)),
        ("line, before it is cut into parts", kib(limits::LINE_BYTES)),
        ("live executions of a server", limits::LIVE_EXECUTIONS.to_string()),
        ("free disk for a new run", format!("{} %", limits::FREE_DISK_PERCENT)),
        ("page of a listing or a log", limits::PAGE.to_string()),
        ("page of a listing, unless `limit` is given", limits::DEFAULT_PAGE.to_string()),
        ("`wait`", format!("{} s", limits::WAIT_SECONDS)),
        ("`Idempotency-Key`", format!("{} characters", limits::IDEMPOTENCY_KEY)),
        ("memory of an `Idempotency-Key`", seconds(limits::IDEMPOTENCY_WINDOW)),
        ("shortest prefix of an id", format!("{} digits", limits::ID_PREFIX)),
        ("`timeout`, unless given", seconds(limits::DEFAULT_TIMEOUT)),
        ("`timeout`, at most", seconds(limits::MAX_TIMEOUT)),
        ("`grace`, unless given", seconds(limits::DEFAULT_GRACE)),
        ("`grace`, at most", seconds(limits::MAX_GRACE)),
        ("start of a task", seconds(limits::START_TIMEOUT)),
        ("`max_wait`, unless given", seconds(limits::DEFAULT_MAX_WAIT)),
        ("`max_wait`, at most", seconds(limits::MAX_WAIT)),
        ("executions that wait for one lock", limits::QUEUE_DEPTH.to_string()),
        ("claim token, and who never claims", seconds(limits::CLAIM_WINDOW)),
        ("`expires_in`", format!("{} s", limits::KEY_SECONDS)),
        ("open stream whose key was revoked elsewhere", seconds(limits::KEY_RECHECK)),
        ("stream token", seconds(limits::STREAM_TOKEN)),
        ("open WebSockets", limits::SOCKETS.to_string()),
        ("open WebSockets of one user", limits::SOCKETS_PER_USER.to_string()),
    ];
    let expected: Vec<_> = expected.iter().map(|(what, value)| format!("| {what} | {value} |")).collect();
    assert_eq!(rows, expected);
}
