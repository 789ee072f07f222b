//! Percent-encoding, as the common encoders do it.

use std::collections::BTreeSet;

/// What an encoder leaves alone beside letters and digits: RFC 3986, with `/` (paths, Python), JavaScript's
/// `encodeURIComponent` and `encodeURI`, HTML forms.
const LEFT_ALONE: [&[u8]; 5] = [b"-_.~", b"-_.~/", b"-_.!~*'()", b"-_.!~*'();/?:@&=+$,#", b"-_.*"];

/// Adds the encoded forms of the value.
pub(super) fn forms(value: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for left_alone in LEFT_ALONE {
        for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            for plus in [false, true] {
                forms.insert(encode(value.as_bytes(), left_alone, *hex, plus));
            }
        }
    }
}

fn encode(value: &[u8], left_alone: &[u8], hex: [u8; 16], plus: bool) -> Vec<u8> {
    let digit = |nibble: u8| hex.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b' ' if plus => out.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || left_alone.contains(byte) => out.push(*byte),
            byte => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    out
}
