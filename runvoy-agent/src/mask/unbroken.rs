//! A text without its line breaks, which remembers where they were.

/// Reused from read to read.
#[derive(Default)]
pub(crate) struct Unbroken {
    text: Vec<u8>,
    /// So many bytes of the original were left out before it.
    skipped: usize,
    /// For each break, in order, how many bytes of `text` stand before it.
    breaks: Vec<usize>,
}

impl Unbroken {
    /// Replaces the text by `original` without `\n` and `\r`.
    pub(crate) fn fill(&mut self, original: &[u8]) {
        self.text.clear();
        self.breaks.clear();
        self.skipped = 0;
        let mut from = 0;
        for at in memchr::memchr2_iter(b'\n', b'\r', original) {
            self.text.extend_from_slice(original.get(from..at).unwrap_or_default());
            self.breaks.push(self.text.len());
            from = at + 1;
        }
        self.text.extend_from_slice(original.get(from..).unwrap_or_default());
    }

    /// Replaces the text by the end of `original`: at least its last `least` bytes that are no breaks.
    pub(crate) fn fill_end(&mut self, original: &[u8], least: usize) {
        let mut text = original.iter().enumerate().rev().filter(|(_, byte)| !is_break(**byte));
        let from = text.nth(least).map_or(0, |(at, _)| at);
        self.fill(original.get(from..).unwrap_or_default());
        self.skipped = from;
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where the byte at `at` stands in the original; for the end, the original's end.
    pub(crate) fn original(&self, at: usize) -> usize {
        self.skipped + at + self.breaks.partition_point(|before| *before <= at)
    }
}

/// Whether a byte ends a line, or belongs to its end.
pub(super) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
