//! The forms in which a secret could appear in a log.

use std::collections::BTreeSet;

use serde_json::Value;

mod base64;
mod json;
mod shell;
mod url;

/// Secrets below this length are not masked: they occur everywhere by chance.
const SHORTEST: usize = 4;
/// A part of a secret (a line, a leaf) is masked by itself from this length on.
const SHORTEST_PART: usize = 8;

/// Byte strings to look for.
#[derive(Default)]
pub(crate) struct Forms {
    /// In the stream as it is.
    pub(crate) plain: BTreeSet<Vec<u8>>,
    /// In the stream without its line breaks.
    pub(crate) base64: BTreeSet<Vec<u8>>,
}

/// Whether a secret is too short to be masked, and should be remarked upon.
pub(crate) fn is_too_short(secret: &str) -> bool {
    !secret.is_empty() && secret.chars().count() < SHORTEST
}

/// All forms of all secrets.
pub(crate) fn of_all(secrets: &[String]) -> Forms {
    let mut forms = Forms::default();
    let values: BTreeSet<&str> =
        secrets.iter().map(String::as_str).filter(|secret| secret.chars().count() >= SHORTEST).collect();
    for value in values.iter().flat_map(|secret| values_of(secret)) {
        let value = value.as_str();
        forms.plain.insert(value.as_bytes().to_vec());
        url::forms(value, &mut forms.plain);
        json::forms(value, &mut forms.plain);
        shell::forms(value, &mut forms.plain);
        base64::forms(value.as_bytes(), &mut forms.base64);
    }
    forms
}

/// The secret and its parts.
fn values_of(secret: &str) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    let trimmed = secret.trim();
    if trimmed.chars().count() >= SHORTEST {
        // As `$(cat file)` gives it.
        values.insert(trimmed.to_owned());
    }
    add_lines(secret, &mut values);
    if let Ok(document) = serde_json::from_str::<Value>(secret) {
        add_leaves(&document, &mut values);
        // A parsed number may be written in other words; look for the ones of the secret.
        json::each_number(secret, |number| add_part(number, &mut values));
    }
    values.insert(secret.to_owned());
    values
}

fn add_leaves(value: &Value, values: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            add_part(text, values);
            add_lines(text, values);
        }
        Value::Number(number) => add_part(&number.to_string(), values),
        Value::Array(items) => items.iter().for_each(|item| add_leaves(item, values)),
        Value::Object(members) => members.values().for_each(|item| add_leaves(item, values)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn add_lines(text: &str, values: &mut BTreeSet<String>) {
    text.lines().for_each(|line| add_part(line, values));
}

/// A part, with and without the blanks around it: indentation rarely survives where a line is quoted.
fn add_part(part: &str, values: &mut BTreeSet<String>) {
    for part in [part, part.trim()] {
        if part.chars().count() >= SHORTEST_PART {
            values.insert(part.to_owned());
        }
    }
}
