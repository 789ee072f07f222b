//! Masks one stream, read by read.

use std::ops::Range;
use std::rc::Rc;

use super::unbroken::Unbroken;
use super::{Finders, REPLACEMENT};

/// A finished line is shown although it could be the start of broken base64, if no more than this many bytes of it
/// would be the secret's. Else every line that ends in an unlucky letter would wait for the next one.
const SHOWN_EARLY: usize = 3;

/// Replaces secrets in one stream.
///
/// The caller keeps the bytes from the position that [`Masker::process`] answers, and gives them again, in front of
/// the next ones.
pub(crate) struct Masker {
    finders: Rc<Finders>,
    /// So many of the kept bytes are dealt with already; they are kept to complete a pattern.
    done: usize,
    /// So many of those belong to a run that was replaced already.
    covered: usize,
    replacements: u64,
    unbroken: Unbroken,
    found: Vec<Range<usize>>,
    output: Vec<u8>,
}

impl Masker {
    pub(super) fn new(finders: Rc<Finders>) -> Self {
        Self {
            finders,
            done: 0,
            covered: 0,
            replacements: 0,
            unbroken: Unbroken::default(),
            found: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The most bytes worth keeping: room for the longest pattern with a line break at every place, and to spare.
    ///
    /// Only endless empty lines after what could be the start of base64 lead to more.
    pub(crate) fn most_kept(&self) -> usize {
        4096 + 4 * self.finders.plain.longest().max(self.finders.base64.longest())
    }

    /// Runs replaced so far.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements
    }

    /// Masks the bytes that nothing to come can change; answers them, and from where on the rest is to be kept.
    pub(crate) fn process<'a>(&'a mut self, bytes: &'a [u8], at_end: bool) -> (&'a [u8], usize) {
        let skim = self.finders.skim.as_ref();
        if self.covered == 0 && skim.is_some_and(|skim| !skim.suspects(bytes)) {
            self.found.clear();
            self.unbroken.fill_end(bytes, self.finders.base64.longest());
        } else {
            self.unbroken.fill(bytes);
            self.find(bytes);
        }
        let keep_from = if at_end { bytes.len() } else { self.unfinished_from(bytes) };
        let done = self.done;
        let untouched = self.covered == 0 && self.found.first().is_none_or(|run| run.start >= keep_from);
        if untouched {
            self.done = done.saturating_sub(keep_from);
            return (bytes.get(done..keep_from).unwrap_or_default(), keep_from);
        }
        self.replace(bytes, keep_from);
        (&self.output, keep_from)
    }

    /// Whether [`Self::release_line`] would show something of the kept bytes.
    pub(crate) fn can_release_line(&self, kept: &[u8]) -> bool {
        kept.len() > self.done && !self.releasable(kept).is_empty()
    }

    /// The lines among the kept bytes that are shown although they could still begin a pattern.
    pub(crate) fn release_line<'a>(&mut self, kept: &'a [u8]) -> &'a [u8] {
        let lines = self.releasable(kept);
        self.done = self.done.max(lines.end);
        kept.get(lines).unwrap_or_default()
    }

    fn releasable(&self, kept: &[u8]) -> Range<usize> {
        let plain = self.finders.plain.unfinished_from(kept);
        let mut shown = 0;
        let mut end = self.done;
        for (at, byte) in kept.iter().enumerate().take(plain) {
            match byte {
                b'\n' => end = end.max(at + 1),
                b'\r' => {}
                _ => shown += 1,
            }
            if shown > SHOWN_EARLY {
                break;
            }
        }
        self.done..end
    }

    fn unfinished_from(&self, bytes: &[u8]) -> usize {
        let text = self.unbroken.text();
        let base64 = match self.finders.base64.unfinished_from(text) {
            at if at == text.len() => bytes.len(),
            at => self.unbroken.original(at),
        };
        base64.min(self.finders.plain.unfinished_from(bytes))
    }

    /// Fills `found` with the occurrences in all views, overlapping ones joined.
    fn find(&mut self, bytes: &[u8]) {
        let Self { finders, unbroken, found, .. } = self;
        found.clear();
        finders.plain.each(bytes, |run| found.push(run));
        finders.base64.each(unbroken.text(), |run| {
            found.push(unbroken.original(run.start)..unbroken.original(run.end - 1) + 1);
        });
        found.sort_unstable_by_key(|run| run.start);
        found.dedup_by(|next, run| {
            let joined = next.start < run.end;
            if joined {
                run.end = run.end.max(next.end);
            }
            joined
        });
    }

    /// Fills `output` up to `keep_from`; a run that reaches beyond it is replaced, and remembered.
    fn replace(&mut self, bytes: &[u8], keep_from: usize) {
        self.output.clear();
        let (mut at, mut covered) = (self.done, self.covered);
        for run in self.found.iter().take_while(|run| run.start < keep_from) {
            if run.start >= covered {
                self.output.extend_from_slice(bytes.get(at..run.start).unwrap_or_default());
                self.output.extend_from_slice(REPLACEMENT);
                self.replacements += 1;
            }
            at = at.max(run.end);
            covered = covered.max(run.end);
        }
        self.output.extend_from_slice(bytes.get(at..keep_from).unwrap_or_default());
        self.done = at.max(keep_from) - keep_from;
        self.covered = covered.saturating_sub(keep_from);
    }
}
