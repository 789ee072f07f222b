//! Every guaranteed form of every value of a secret, by encoders of the test's own, cut anywhere: nothing gets through.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A secret, and the parts of it that are masked by themselves.
#[derive(Clone, Debug)]
struct Secret {
    whole: String,
    parts: Vec<String>,
}

fn plain() -> impl Strategy<Value = Secret> {
    r"[!-~]{4,60}|[ -~é✓]{8,40}|[a-f0-9]{32}|[A-Za-z0-9+/]{20,44}={0,2}|[a-z]+://[a-z]+:[!-~]{8,20}@[a-z.]{4,12}"
        .prop_filter("blanks alone are no secret", |whole| whole.trim().chars().count() >= 4)
        .prop_map(|whole| Secret { parts: vec![whole.trim().to_owned()], whole })
}

fn lines() -> impl Strategy<Value = Secret> {
    (prop::collection::vec("[ -~]{0,70}", 2..6), prop::sample::select(vec!["\n", "\r\n"]), any::<bool>())
        .prop_map(|(lines, line_break, ends)| {
            let mut whole = lines.join(line_break);
            if ends {
                whole.push_str(line_break);
            }
            let parts = lines.iter().flat_map(|line| [line.clone(), line.trim().to_owned()]);
            Secret { parts: parts.filter(|part| part.chars().count() >= 8).collect(), whole }
        })
}

/// As cloud providers hand out keys.
fn document() -> impl Strategy<Value = Secret> {
    ("[ -~]{8,30}", "[!-~]{8,30}\n[!-~]{8,30}", 10_000_000_u64.., "[a-z-]{8,20}", any::<bool>()).prop_map(
        |(text, lines, number, nested, pretty)| {
            let value =
                json!({"a": text, "key": lines, "n": [number, {"deep": nested, "short": "x"}], "t": true});
            let whole =
                if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let mut parts = vec![text.clone(), lines.clone(), number.to_string(), nested];
            parts.extend(lines.lines().map(str::to_owned));
            Secret { whole: whole.unwrap(), parts }
        },
    )
}

fn secret() -> impl Strategy<Value = Secret> {
    prop_oneof![3 => plain(), 2 => lines(), 2 => document()]
        .prop_filter("long enough", |secret| secret.whole.trim().chars().count() >= 4)
}

/// A text, and whether line breaks may come into it.
type Encoded = (String, bool);

fn encodings(value: &str, before: &str, after: &str) -> Vec<Encoded> {
    let around = format!("{before}{value}{after}");
    let mut all: Vec<Encoded> = vec![(value.to_owned(), false)];
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        all.push((engine.encode(&around), true));
    }
    for unreserved in ["-_.~", "-_.~/", "-_.!~*'()", "-_.*"] {
        all.push((percent(value, unreserved, true), false));
        all.push((percent(value, unreserved, false), false));
        all.push((percent(value, unreserved, true).replace("%20", "+"), false));
    }
    all.extend(quoted_for_json(value).map(|text| (text, false)));
    all.extend(quoted_for_shells(value).map(|text| (text, false)));
    all
}

fn percent(value: &str, unreserved: &str, upper: bool) -> String {
    let byte = |byte: u8| match char::from(byte) {
        char if char.is_ascii_alphanumeric() || unreserved.contains(char) => char.to_string(),
        _ if upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    value.bytes().map(byte).collect::<Vec<_>>().concat()
}

/// serde, Python, PHP and Go.
fn quoted_for_json(value: &str) -> impl Iterator<Item = String> {
    let text = Value::from(value).to_string();
    let inside = text[1..text.len() - 1].to_owned();
    let unicode = |char: char| {
        char.encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let escape = |text: &str, which: fn(char) -> bool| {
        text.chars()
            .map(|char| if which(char) { unicode(char) } else { char.to_string() })
            .collect::<Vec<_>>()
            .concat()
    };
    let python = escape(&inside, |char| !char.is_ascii());
    let php = python.replace('/', "\\/");
    let go = escape(&inside, |char| "<>&".contains(char));
    [inside, python, php, go].into_iter()
}

/// Single quotes, double quotes, backslashes, and `$'…'`.
fn quoted_for_shells(value: &str) -> impl Iterator<Item = String> {
    let before_each = |which: fn(char) -> bool| {
        let one = |char| if which(char) { format!("\\{char}") } else { char.to_string() };
        value.chars().map(one).collect::<Vec<_>>().concat()
    };
    let single = value.replace('\'', r"'\''");
    let double = before_each(|char| "\"\\$`".contains(char));
    let has_breaks = value.contains(['\n', '\r']);
    let safe = before_each(|char| !char.is_alphanumeric() && !"_@%+=:,./-".contains(char));
    let dollar = value.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n").replace('\r', r"\r");
    // `printf %q` writes a value with line breaks in the last form only.
    [single, double, dollar].into_iter().chain((!has_breaks).then_some(safe))
}

/// The base64 characters that a value alone determines, behind so many bytes of something else.
fn core(value: &str, offset: usize) -> String {
    let text = format!("{}{value}", &"\0\0\0"[..offset % 3]);
    let encoded = STANDARD_NO_PAD.encode(&text);
    encoded[(offset % 3 * 8).div_ceil(6)..text.len() * 8 / 6].to_owned()
}

fn broken(text: &str, width: usize, line_break: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
    lines.join(line_break)
}

/// Feeds a text in pieces, as a source does.
fn masked(patterns: &Patterns, text: &[u8], cuts: &[prop::sample::Index], pauses: bool) -> String {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let mut masker = patterns.masker().unwrap();
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for piece in cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]) {
        kept.extend_from_slice(piece);
        let (output, keep_from) = masker.process(&kept, false);
        out.extend_from_slice(output);
        kept.drain(..keep_from);
        if pauses {
            out.extend_from_slice(masker.release_line(&kept));
        }
    }
    out.extend_from_slice(masker.process(&kept, true).0);
    String::from_utf8(out).unwrap()
}

/// What must not be found, in which view of the output.
fn leaks(out: &str, encoded: &Encoded, value: &str, offset: usize) -> bool {
    if !encoded.1 {
        return out.contains(&encoded.0);
    }
    let unbroken = out.replace(['\r', '\n'], "").replace('-', "+").replace('_', "/");
    unbroken.contains(&core(value, offset))
}

fn cases() -> u32 {
    let set = std::env::var("RUNVOY_FUZZ_CASES").ok();
    set.map_or(300, |cases| cases.parse().expect("RUNVOY_FUZZ_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn no_form_of_no_part_of_no_secret_gets_through(
        secrets in prop::collection::vec(secret(), 1..5),
        before in "[a-z]{0,5}", after in "[a-z]{0,5}",
        width in 1_usize..80, line_break in prop::sample::select(vec!["\n", "\r\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        pauses: bool,
    ) {
        let wholes: Vec<String> = secrets.iter().map(|secret| secret.whole.clone()).collect();
        let patterns = Patterns::new(&wholes).unwrap();
        for secret in &secrets {
            for value in secret.parts.iter().chain([&secret.whole]) {
                for encoded in encodings(value, &before, &after) {
                    let body = if encoded.1 { broken(&encoded.0, width, line_break) } else { encoded.0.clone() };
                    let text = format!("\u{2192}{body}\u{2190}\n");
                    let out = masked(&patterns, text.as_bytes(), &cuts, pauses);
                    prop_assert!(out.contains("***"), "{value:?}: {text:?} came out as {out:?}");
                    prop_assert!(!leaks(&out, &encoded, value, before.len()), "{value:?}: {text:?} came out as {out:?}");
                    prop_assert!(out.starts_with('\u{2192}') && out.ends_with("\u{2190}\n"), "{out:?}");
                }
            }
        }
    }
}
