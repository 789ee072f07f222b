//! Amounts of bytes as people write them: `64K`, `500M`, `10G`; a bare number is bytes.

/// Reads an amount of bytes, 1 or more. Units are powers of 1024: `10G` is the same as `10GiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || "it is a number of bytes, such as `64K`, `500M` or `10G`".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let bytes: u64 = match unit {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let total = digits.parse().ok().and_then(|number: u64| number.checked_mul(bytes));
    total.filter(|total| *total > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases =
            [("1", 1), ("4096", 4096), ("64K", 65_536), ("500MiB", 524_288_000), ("10G", 10_737_418_240)];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "0", "0G", "G", "-1", "+1", "1.5G", "10 G", "10g", "10GB", "16777216T", "9é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
