//! Percentiles, medians and the table that they end in.

use std::fmt;
use std::time::Duration;

/// Samples in order: percentiles are exact.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that so many percent are not above.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.at(50)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.at(99)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {}, p99 {}", time(self.p50()), time(self.p99()))
    }
}

/// The middle one by `key`: one bad minute of a shared machine does not decide.
pub(crate) fn median<T>(mut rounds: Vec<T>, key: impl Fn(&T) -> f64) -> Option<T> {
    rounds.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = rounds.len().checked_sub(1)? / 2;
    Some(rounds.swap_remove(middle))
}

/// A time in the unit that people read it in.
pub(crate) fn time(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        ..1.0 => format!("{:.0} ns", us * 1e3),
        ..10.0 => format!("{us:.2} µs"),
        ..1_000.0 => format!("{us:.0} µs"),
        ..100_000.0 => format!("{:.2} ms", us / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// KiB as MB of a million bytes, as limits are given.
pub(crate) fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    pub(crate) reference: String,
    pub(crate) command: &'static str,
}

impl Row {
    pub(crate) fn head() {
        println!("| what | target | measured | reference in the same run | `runvoy-bench` |");
        println!("| --- | --- | --- | --- | --- |");
    }

    pub(crate) fn print(&self) {
        let Self { what, target, measured, reference, command } = self;
        println!("| {what} | {target} | {measured} | {reference} | `{command}` |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = Samples::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((samples.p50(), samples.p99()), (Duration::from_millis(100), Duration::from_millis(198)));
        assert_eq!(Samples::new(vec![Duration::from_secs(1)]).p99(), Duration::from_secs(1));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(time(Duration::from_nanos(1_500)), "1.50 µs");
        assert_eq!(time(Duration::from_micros(2_345)), "2.35 ms");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(median(vec![3.0, 1.0, 2.0], |x| *x), Some(2.0));
    }
}
