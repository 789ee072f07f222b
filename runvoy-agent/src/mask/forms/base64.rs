//! Base64 at every offset of a larger text, in both alphabets.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD};

/// Adds, for each offset, the characters that the value alone determines, whatever stands around it; and the
/// characters that end the text if nothing follows the value.
pub(super) fn forms(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for offset in 0..3_usize {
        let text = [vec![0; offset].as_slice(), value].concat();
        // A character holds 6 bits: round up past the bits before, down before the bits after.
        let from = (offset * 8).div_ceil(6);
        let determined = text.len() * 8 / 6;
        for alphabet in [&STANDARD, &URL_SAFE] {
            let padded = encode(alphabet, true, &text);
            let unpadded = encode(alphabet, false, &text);
            forms.extend(padded.get(from..determined).map(<[u8]>::to_vec));
            forms.extend(padded.get(from..).map(<[u8]>::to_vec));
            forms.extend(unpadded.get(from..).map(<[u8]>::to_vec));
        }
    }
}

fn encode(alphabet: &Alphabet, padded: bool, text: &[u8]) -> Vec<u8> {
    GeneralPurpose::new(alphabet, if padded { PAD } else { NO_PAD }).encode(text).into_bytes()
}
