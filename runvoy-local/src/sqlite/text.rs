//! How values are written so that the file reads sensibly, and sorts as they do.

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};

use super::error::Failure;

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
static PARSER: DateTimeParser = DateTimeParser::new();

/// RFC 3339 in UTC with milliseconds: of one width, so that text sorts as time does.
pub(super) fn time(time: Timestamp) -> String {
    let mut out = String::with_capacity(24);
    // Writing to a `String` cannot fail.
    let _ = PRINTER.print_timestamp(&time, &mut out);
    out
}

/// The second in which `time` is, without a zone: where text that has fractions of any length sorts as time does.
pub(super) fn second(time: Timestamp) -> String {
    let mut text = self::time(time);
    text.truncate(19);
    text
}

/// The first millisecond that is not before `time`: bounds must not take in what the stored form cut off.
pub(super) fn time_rounded_up(time: Timestamp) -> String {
    let millis = time.as_millisecond();
    let cut = Timestamp::from_millisecond(millis).unwrap_or(time);
    let up = if cut < time { Timestamp::from_millisecond(millis + 1).unwrap_or(time) } else { cut };
    self::time(up)
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, Failure> {
    PARSER.parse_timestamp(text).map_err(Failure::unreadable)
}

/// SQLite counts in signed 64 bits; what is beyond is as good as endless.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub(super) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_width_and_round_up() {
        let of = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(time(of("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05.000Z");
        assert_eq!(time(of("2026-01-02T03:04:05.6789Z")), "2026-01-02T03:04:05.678Z");
        assert_eq!(second(of("2026-01-02T03:04:05.678Z")), "2026-01-02T03:04:05");
        assert_eq!(time_rounded_up(of("2026-01-02T03:04:05.678Z")), "2026-01-02T03:04:05.678Z");
        assert_eq!(time_rounded_up(of("2026-01-02T03:04:05.678000001Z")), "2026-01-02T03:04:05.679Z");
    }

    #[test]
    fn hex_reads_back() {
        assert_eq!(hex(&[0, 0x7f, 0xff]), "007fff");
        assert_eq!(parse_hex("007fff"), Some([0, 0x7f, 0xff]));
        assert_eq!(parse_hex::<3>("007ff"), None);
        assert_eq!(parse_hex::<3>("007ffg"), None);
    }
}
