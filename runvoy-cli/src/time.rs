//! Points in time as people read them. JSON has them in RFC 3339.

use jiff::Timestamp;

/// In UTC, to the second: `2026-01-05 10:00:00Z`.
pub(crate) fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
