use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

/// Feeds a text in chunks as a source does, with or without a pause after each.
fn masked(patterns: &Patterns, chunks: &[&[u8]], pauses: bool) -> Vec<u8> {
    let Some(mut masker) = patterns.masker() else { return chunks.concat() };
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let (output, keep_from) = masker.process(&kept, false);
        out.extend_from_slice(output);
        kept.drain(..keep_from);
        if pauses {
            out.extend_from_slice(masker.release_line(&kept));
        }
    }
    out.extend_from_slice(masker.process(&kept, true).0);
    out
}

fn patterns(secrets: &[&str]) -> Patterns {
    Patterns::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn whole(secrets: &[&str], text: &str) -> String {
    String::from_utf8(masked(&patterns(secrets), &[text.as_bytes()], false)).unwrap()
}

/// Cuts a text at arbitrary places.
fn chunks<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// A text around a form of a secret, as every common encoder makes it.
fn encodings(secret: &str, around: &str) -> Vec<String> {
    let text = format!("{around}{secret}{around}");
    let percent: String = secret
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let json = serde_json::to_string(secret).unwrap();
    let json = &json[1..json.len() - 1];
    vec![
        secret.to_owned(),
        STANDARD.encode(&text),
        STANDARD_NO_PAD.encode(&text),
        URL_SAFE.encode(&text),
        URL_SAFE_NO_PAD.encode(&text),
        percent.clone(),
        percent.replace("%20", "+"),
        json.to_owned(),
        json.replace('/', "\\/"),
        secret.replace('\'', r"'\''"),
    ]
}

/// Puts a line break after every `width` characters.
fn wrapped(text: &str, width: usize, line_break: &str) -> String {
    text.as_bytes()
        .chunks(width)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect::<Vec<_>>()
        .join(line_break)
}

/// The base64 characters that the secret alone determines, at an offset.
fn core(secret: &str, offset: usize) -> String {
    let text = format!("{}{secret}", &"\0\0\0"[..offset]);
    let encoded = STANDARD_NO_PAD.encode(&text);
    encoded[(offset * 8).div_ceil(6)..text.len() * 8 / 6].to_owned()
}

const SECRET: &str = r#"[a-zA-Z0-9 +/'"\\$%&<>_.~é-]{8,40}"#;

proptest! {
    #[test]
    fn the_output_does_not_depend_on_the_chunks(
        secrets in proptest::collection::vec("[ab]{4,7}", 1..4), text in "[ab\nYWJh]{0,80}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let patterns = Patterns::new(&secrets).unwrap();
        let expected = masked(&patterns, &[text.as_bytes()], false);
        let actual = masked(&patterns, &chunks(text.as_bytes(), &cuts), false);
        prop_assert_eq!(String::from_utf8(actual).unwrap(), String::from_utf8(expected).unwrap());
    }

    #[test]
    fn every_byte_of_every_occurrence_is_replaced_and_no_other(
        secrets in proptest::collection::vec("[ab]{4,7}", 1..4), text in "[abc]{0,80}",
    ) {
        // The simple way: mark, then replace.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for start in 0..text.len() {
            let Some(length) = secrets.iter().filter(|s| text[start..].starts_with(*s)).map(String::len).max() else { continue };
            match runs.last_mut() {
                Some(run) if start < run.1 => run.1 = run.1.max(start + length),
                _ => runs.push((start, start + length)),
            }
        }
        let mut expected = String::new();
        let mut at = 0;
        for (start, end) in runs {
            expected.push_str(&text[at..start]);
            expected.push_str("***");
            at = end;
        }
        expected.push_str(&text[at..]);
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        prop_assert_eq!(whole(&secrets, &text), expected);
    }

    #[test]
    fn no_form_gets_through(
        secret in SECRET, around in "[a-z]{0,5}", width in 1_usize..80, crlf: bool, pauses: bool,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let patterns = patterns(&[&secret]);
        for (at, encoded) in encodings(&secret, &around).into_iter().enumerate() {
            let is_base64 = (1..=4).contains(&at);
            let body = if is_base64 { wrapped(&encoded, width, if crlf { "\r\n" } else { "\n" }) } else { encoded.clone() };
            let text = format!("before: {body}\nafter\n");
            let out = masked(&patterns, &chunks(text.as_bytes(), &cuts), pauses);
            let out = String::from_utf8(out).unwrap();
            prop_assert!(out.contains("***"), "{encoded} -> {out}");
            let leaked = if is_base64 {
                let unbroken = out.replace(['\r', '\n'], "").replace('-', "+").replace('_', "/");
                (0..3).any(|offset| unbroken.contains(&core(&secret, offset)))
            } else {
                out.contains(&encoded)
            };
            prop_assert!(!leaked, "{encoded} -> {out}");
        }
    }

    #[test]
    fn other_text_passes_unchanged(
        secret in "[A-Z0-9]{12,30}", text in "[a-z \n\r=+/é-]{0,300}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12), pauses: bool,
    ) {
        let out = masked(&patterns(&[&secret]), &chunks(text.as_bytes(), &cuts), pauses);
        prop_assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn overlapping_secrets_leave_nothing_over() {
    assert_eq!(whole(&["abcdef", "defghi"], "xabcdefghix"), "x***x");
    assert_eq!(whole(&["abcd", "abcdefgh"], "abcdefgh abcdefg"), "*** ***efg");
}

#[test]
fn parts_of_a_secret_are_masked_from_8_characters_on() {
    let pem = "-----BEGIN KEY-----\n  MIIEvQIBADANBg\nshort\n-----END KEY-----\n";
    let secrets =
        [pem, r#"{"user": "service-account", "n": [1234567890], "key": "one\ntwotwotwo", "id": "short"}"#];
    assert_eq!(
        whole(&secrets, "MIIEvQIBADANBg short service-account 1234567890 twotwotwo"),
        "*** short *** *** ***"
    );
    let encoded = STANDARD.encode("service-account");
    assert_eq!(whole(&secrets, &format!("x {encoded} y")), "x *** y");
}

#[test]
fn standing_alone_the_last_character_and_the_padding_go_too() {
    for secret in ["hunter", "hunter2", "hunter22", "four"] {
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            assert_eq!(whole(&[secret], &format!("a {} b", engine.encode(secret))), "a *** b");
        }
    }
}

#[test]
fn a_form_that_goes_on_for_ever_is_replaced_once_and_not_held() {
    let patterns = patterns(&["aaaa"]);
    let mut masker = patterns.masker().unwrap();
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        kept.extend_from_slice(b"aaaaaaa");
        let (output, keep_from) = masker.process(&kept, false);
        out.extend_from_slice(output);
        kept.drain(..keep_from);
        assert!(kept.len() < 4);
    }
    assert_eq!(out, b"***");
    assert_eq!(masker.replacements(), 1);
}

#[test]
fn bytes_are_held_only_while_they_could_begin_a_secret() {
    let patterns = patterns(&["secret-value"]);
    let mut masker = patterns.masker().unwrap();
    assert_eq!(masker.process(b"my secret", false), (&b"my "[..], 3));
    assert_eq!(masker.process(b"secretly", false), (&b"secretly"[..], 8));
}

#[test]
fn many_secrets_need_several_automata_and_are_all_found() {
    let secrets: Vec<String> = (0..200).map(|n| format!("{n:03}-token-{}", n * 7919)).collect();
    let patterns = Patterns::new(&secrets).unwrap();
    let text = secrets.join(" | ");
    let out = masked(&patterns, &[text.as_bytes()], false);
    assert_eq!(String::from_utf8(out).unwrap(), vec!["***"; 200].join(" | "));
}
