//! The inside of a JSON string, as the common encoders write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What encoders differ in: a set of the bits below.
#[derive(Clone, Copy)]
struct Style(u8);

impl Style {
    /// `\/`, as PHP does.
    const SLASH: u8 = 1;
    /// `\u003c`, as Go does for what means something in HTML.
    const HTML: u8 = 2;
    /// `\u0027`, as .NET and Rails do for the apostrophe.
    const QUOTE: u8 = 4;
    /// `\u000a` instead of `\n`.
    const LONG: u8 = 8;
    /// `\u00e9`, as Python does for what is not ASCII.
    const ASCII: u8 = 16;
    /// `\u00E9` instead of `\u00e9`.
    const UPPER: u8 = 32;
    const ALL: u8 = 63;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// Adds the escaped forms of the value.
pub(super) fn forms(value: &str, forms: &mut BTreeSet<Vec<u8>>) {
    forms.extend((0..=Style::ALL).map(|style| escape(value, Style(style)).into_bytes()));
}

fn escape(value: &str, style: Style) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if style.has(Style::SLASH) => out.push_str("\\/"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if style.has(Style::HTML) => {
                unicode(char, style, &mut out);
            }
            '\'' if style.has(Style::QUOTE) => unicode(char, style, &mut out),
            '\u{8}' if !style.has(Style::LONG) => out.push_str("\\b"),
            '\u{c}' if !style.has(Style::LONG) => out.push_str("\\f"),
            '\n' if !style.has(Style::LONG) => out.push_str("\\n"),
            '\r' if !style.has(Style::LONG) => out.push_str("\\r"),
            '\t' if !style.has(Style::LONG) => out.push_str("\\t"),
            char if char < ' ' => unicode(char, style, &mut out),
            char if style.has(Style::ASCII) && char >= '\u{7f}' => unicode(char, style, &mut out),
            char => out.push(char),
        }
    }
    out
}

fn unicode(char: char, style: Style, out: &mut String) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ =
            if style.has(Style::UPPER) { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
    }
}

/// Calls `found` for each number of a valid document, as it is written there.
pub(super) fn each_number(document: &str, mut found: impl FnMut(&str)) {
    // Every second piece between quotes is inside a string, once escaped quotes are out of the way.
    let outside = document.replace("\\\\", "").replace("\\\"", "");
    for piece in outside.split('"').step_by(2) {
        for word in piece.split([',', ':', '[', ']', '{', '}', ' ', '\t', '\n', '\r']) {
            if word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
                found(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_as_they_are_written() {
        let mut numbers = Vec::new();
        each_number(r#"{"a \" 1": [12345678901234567890123, -1.50e3], "b\\": true, "c": "99"}"#, |number| {
            numbers.push(number.to_owned());
        });
        assert_eq!(numbers, ["12345678901234567890123", "-1.50e3"]);
    }

    #[test]
    fn the_common_encoders_are_among_the_styles() {
        let mut forms = BTreeSet::new();
        super::forms("a/\"é<\n\u{1}😀", &mut forms);
        for expected in [
            r#"a/\"é<\n\u0001😀"#,
            r#"a\/\"\u00e9<\n\u0001\ud83d\ude00"#,
            r#"a/\"é\u003c\n\u0001😀"#,
            r#"a/\"\u00E9<\n\u0001\uD83D\uDE00"#,
        ] {
            assert!(forms.contains(expected.as_bytes()), "{expected}");
        }
    }
}
