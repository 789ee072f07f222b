//! Finds all occurrences of many byte strings.

use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, Input, MatchKind};

/// Patterns are at least this long.
const SHORTEST: usize = 4;
/// The automata know this much of a pattern; the rest is compared. It keeps them small, and few: most forms of a
/// secret begin alike.
const KNOWN: usize = 16;
/// The search is vectorised up to this many strings per automaton, and many times slower beyond.
const PER_AUTOMATON: usize = 64;

/// Finds patterns, and what could become one.
pub(crate) struct Finder {
    automata: Vec<AhoCorasick>,
    /// Sorted.
    patterns: Vec<Vec<u8>>,
    longest: usize,
    firsts: Vec<bool>,
    /// By the first two bytes.
    pairs: Vec<bool>,
}

impl Finder {
    /// Compiles patterns of at least [`SHORTEST`] bytes.
    pub(crate) fn new(patterns: BTreeSet<Vec<u8>>) -> Result<Self, BuildError> {
        let patterns: Vec<Vec<u8>> =
            patterns.into_iter().filter(|pattern| pattern.len() >= SHORTEST).collect();
        let mut known: Vec<&[u8]> =
            patterns.iter().map(|pattern| pattern.get(..KNOWN).unwrap_or(pattern)).collect();
        known.dedup();
        let automata = known.chunks(PER_AUTOMATON).map(|chunk| {
            AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .match_kind(MatchKind::LeftmostFirst)
                .build(chunk)
        });
        let automata = automata.collect::<Result<_, _>>()?;
        let mut firsts = vec![false; 1 << 8];
        let mut pairs = vec![false; 1 << 16];
        for pattern in &patterns {
            if let [first, second, ..] = pattern.as_slice() {
                mark(&mut firsts, usize::from(*first));
                mark(&mut pairs, pair(*first, *second));
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        Ok(Self { automata, patterns, longest, firsts, pairs })
    }

    /// What is looked for.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.iter().map(Vec::as_slice)
    }

    /// Length of the longest pattern.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Reports, for every place where a pattern occurs, the longest one there.
    pub(crate) fn each(&self, text: &[u8], mut found: impl FnMut(Range<usize>)) {
        for automaton in &self.automata {
            let mut from = 0;
            while let Some(hit) = automaton.find(Input::new(text).range(from..)) {
                if let Some(length) = self.longest_at(text.get(hit.start()..).unwrap_or_default()) {
                    found(hit.start()..hit.start() + length);
                }
                from = hit.start() + 1;
            }
        }
    }

    /// Where the longest end of the text begins that is the beginning of a pattern, and not all of it; the text's
    /// length if there is none.
    pub(crate) fn unfinished_from(&self, text: &[u8]) -> usize {
        let window = (text.len() + 1).saturating_sub(self.longest.max(1));
        let mut rest = text.get(window..).unwrap_or_default();
        while let Some((first, after)) = rest.split_first() {
            let possible = match after.first() {
                Some(second) => self.pairs.get(pair(*first, *second)),
                None => self.firsts.get(usize::from(*first)),
            };
            if possible.copied().unwrap_or_default() && self.is_unfinished(rest) {
                break;
            }
            rest = after;
        }
        text.len() - rest.len()
    }

    fn is_unfinished(&self, end: &[u8]) -> bool {
        let at = self.patterns.partition_point(|pattern| pattern.as_slice() <= end);
        self.patterns.get(at).is_some_and(|pattern| pattern.starts_with(end))
    }

    fn longest_at(&self, text: &[u8]) -> Option<usize> {
        let head = text.get(..SHORTEST)?;
        let from = self.patterns.partition_point(|pattern| pattern.as_slice() < head);
        let alike = self.patterns.get(from..)?.iter().take_while(|pattern| pattern.starts_with(head));
        alike.filter(|pattern| text.starts_with(pattern)).map(Vec::len).max()
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

fn mark(table: &mut [bool], at: usize) {
    if let Some(entry) = table.get_mut(at) {
        *entry = true;
    }
}
