//! Exit codes of `runvoy` itself; a command's own code passes through.

/// It worked.
pub(crate) const OK: u8 = 0;
/// The arguments are wrong.
pub(crate) const USAGE: u8 = 2;
/// The server refused the request.
pub(crate) const REFUSED: u8 = 65;
/// There is no such thing.
pub(crate) const NOT_FOUND: u8 = 66;
/// The server cannot be reached, or failed.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Try again later.
pub(crate) const TRY_LATER: u8 = 75;
/// Not authenticated or not allowed.
pub(crate) const DENIED: u8 = 77;
/// Not configured, or badly.
pub(crate) const CONFIG: u8 = 78;
/// The command timed out.
pub(crate) const TIMED_OUT: u8 = 124;
/// Runvoy could not run the command, or lost it.
pub(crate) const NOT_RUN: u8 = 125;
/// The user interrupted the client.
pub(crate) const INTERRUPTED: u8 = 130;
/// The reader of our output went away, as if by SIGPIPE.
pub(crate) const PIPE_CLOSED: u8 = 141;
/// A command that was killed and yet said 0, as if by SIGTERM.
pub(crate) const KILLED: u8 = 143;

/// The table of the reference: code, and when.
pub(crate) const TABLE: &str = "\
| code | when |
| --- | --- |
| the command's | it ran (128+n when a signal ended it; 124 when it timed out, whatever it said itself; killed and yet 0: 143) |
| 2 | usage |
| 65 | refused by the server: validation, conflict |
| 66 | not found |
| 69 | the server cannot be reached, or answers 5xx |
| 75 | try again later: lock held, queue full, waited too long, too many requests, `wait --timeout` over |
| 77 | not authenticated or not allowed |
| 78 | not configured, or the configuration is bad |
| 125 | Runvoy could not run it or lost it: image, workspace, start, `lost`, `log_limit` |
| 130, 141 | you interrupted the client; your pipe closed |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code() {
        let rows: Vec<_> = TABLE.lines().skip(2).collect();
        let starts = [
            (USAGE, "| 2 | usage"),
            (REFUSED, "| 65 | refused"),
            (NOT_FOUND, "| 66 | not found"),
            (UNAVAILABLE, "| 69 | the server cannot be reached"),
            (TRY_LATER, "| 75 | try again later"),
            (DENIED, "| 77 | not auth"),
            (CONFIG, "| 78 | not configured"),
            (NOT_RUN, "| 125 | Runvoy could not"),
            (INTERRUPTED, "| 130, 141 |"),
            (PIPE_CLOSED, "| 130, 141 |"),
        ];
        for (code, start) in starts {
            assert!(start.contains(&code.to_string()));
            assert!(rows.iter().any(|row| row.starts_with(start)), "{start}");
        }
        assert!(rows[0].contains(&format!("{TIMED_OUT} when it timed out")));
        assert!(rows[0].contains(&format!("killed and yet 0: {KILLED}")));
        assert_eq!(rows.len(), 10);
    }
}
