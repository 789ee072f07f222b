//! Lengths of time as people write them: `90s`, `10m`, `1h30m`, `2d`; a bare number is seconds.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// Reads a length of time; units run from large to small and stand once each.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time: write `90s`, `10m`, `1h30m` or `2d`");
    if let Ok(seconds) = text.parse::<u64>() {
        // `+5` parses as a number; nobody means it.
        return if text.starts_with('+') { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) };
    }
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, after) = rest.split_at(end);
        let mut chars = after.chars();
        let unit = chars.next().ok_or_else(wrong)?;
        let (_, seconds) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*seconds)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = chars.as_str();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// Writes a length of time with its two largest units: `1h02m`, `3m05s`, `7s`.
pub(crate) fn show(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d{hours:02}h")
    } else if hours > 0 {
        format!("{hours}h{minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [("10", 10), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0", 0)];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "m", "1x", "30m1h", "1m1m", "-5", "+5", "1.5h", "1h 30m", "99999999999999999999", "9é"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_shown_reads_back_when_exact(minutes in 0_u64..59, seconds in 0_u64..59) {
            let total = minutes * 60 + seconds;
            prop_assert_eq!(parse(&show(total)), Ok(Duration::from_secs(total)));
        }
    }
}
