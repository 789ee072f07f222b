//! Quoted for a shell.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Adds the quoted forms of the value, without the quotes around it.
pub(super) fn forms(value: &str, forms: &mut BTreeSet<Vec<u8>>) {
    // Between single quotes: most shells and `set -x`; Python's shlex.
    forms.insert(value.replace('\'', r"'\''").into_bytes());
    forms.insert(value.replace('\'', r#"'"'"'"#).into_bytes());
    // Between double quotes: `declare -p`.
    forms.insert(backslashed(value, |char, _| matches!(char, '"' | '\\' | '$' | '`')).into_bytes());
    // One backslash each: `printf %q`, Ruby's Shellwords. Versions differ in the characters.
    forms.insert(backslashed(value, |char, at| in_bash(char, at) || char == ',').into_bytes());
    forms.insert(backslashed(value, in_bash).into_bytes());
    forms.insert(
        backslashed(value, |char, _| !char.is_alphanumeric() && !"_@%+=:,./-".contains(char)).into_bytes(),
    );
    forms.insert(
        backslashed(value, |char, _| !char.is_alphanumeric() && !"_-.,:+/@".contains(char)).into_bytes(),
    );
    // `$'...'`, which is what shells write when there are control characters.
    for octal in [false, true] {
        forms.insert(ansi_c(value, octal).into_bytes());
    }
}

/// What bash's `printf %q` escapes anywhere, or at the start.
fn in_bash(char: char, at: usize) -> bool {
    match char {
        '~' | '#' => at == 0,
        char => " \t!\"$&'()*;<>?[\\]^`{|}".contains(char),
    }
}

fn backslashed(value: &str, special: impl Fn(char, usize) -> bool) -> String {
    let mut out = String::with_capacity(value.len());
    for (at, char) in value.chars().enumerate() {
        if special(char, at) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn ansi_c(value: &str, octal: bool) -> String {
    let mut out = String::with_capacity(value.len());
    let mut bytes = [0; 4];
    for char in value.chars() {
        match char {
            '\'' | '\\' => out.extend(['\\', char]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\E"),
            char if char.is_control() || (octal && !char.is_ascii()) => {
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_quotings_are_there() {
        let mut forms = BTreeSet::new();
        super::forms("it's $5 \"now\"", &mut forms);
        for expected in
            [r#"it'\''s $5 "now""#, r#"it'"'"'s $5 "now""#, r#"it's \$5 \"now\""#, r#"it\'s\ \$5\ \"now\""#]
        {
            assert!(forms.contains(expected.as_bytes()), "{expected}");
        }
    }
}
