//! A text without its line breaks, which remembers where they were.

/// Reused from read to read.
#[derive(Default)]
pub(crate) struct Unbroken {
    text: Vec<u8>,
    /// For each break, in order, how many bytes of `text` stand before it.
    breaks: Vec<usize>,
}

impl Unbroken {
    /// Replaces the text by `original` without `\n` and `\r`.
    pub(crate) fn fill(&mut self, original: &[u8]) {
        self.text.clear();
        self.breaks.clear();
        let mut from = 0;
        for at in memchr::memchr2_iter(b'\n', b'\r', original) {
            self.text.extend_from_slice(original.get(from..at).unwrap_or_default());
            self.breaks.push(self.text.len());
            from = at + 1;
        }
        self.text.extend_from_slice(original.get(from..).unwrap_or_default());
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where the byte at `at` stands in the original; for the end, the original's end.
    pub(crate) fn original(&self, at: usize) -> usize {
        at + self.breaks.partition_point(|before| *before <= at)
    }
}
