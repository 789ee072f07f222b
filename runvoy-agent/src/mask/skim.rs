//! A quick look at a text: whether it could hold a pattern at all.
//!
//! The search for each pattern costs several passes; nearly all that commands write holds none. A pattern's beginning
//! is cut into overlapping groups of 4 bytes. Whoever looks at every so many bytes of a text, and across each of its
//! line breaks, meets one of the groups of any pattern that is there, whole or broken:
//!
//! - A piece of a beginning that has no break in it and is [`Skim::stride`] + 3 bytes long holds a group that is looked at.
//!   So the stride is at most 3 less than the beginning of a pattern that is never broken.
//! - A break with 2 bytes of the beginning on each side of it is looked at, with these 4. A beginning of `n` bytes
//!   without such a break has a piece of `n` - 2 bytes, and the stride is at most `n` - 5.
//!
//! A group that is known is looked at again, with 4 further bytes of one side or the other: those are compared exactly.

use std::collections::BTreeSet;

use super::finder::Finder;
use super::unbroken::is_break;

/// So much of a pattern is its beginning.
const BEGINNING: usize = 48;
/// With less, a piece may leave no room for the second look.
const SHORTEST_STRIDE: usize = 8;
/// A filter has so many bits, as a power of two: both fit into a first-level cache.
const BITS: u32 = 17;
/// With more groups than this they would let too much through.
const MOST_GROUPS: usize = 1 << (BITS - 3);

/// What is known of all patterns' beginnings.
pub(super) struct Skim {
    /// Groups of 4 bytes.
    fours: Filter,
    /// Groups of 8 bytes.
    eights: Filter,
    /// The latter, sorted.
    exact: Vec<[u8; 8]>,
    stride: usize,
}

impl Skim {
    /// What finders look for in a text as it is, and in one without its breaks; `None` if that is too short, or too
    /// much, to be skimmed for.
    pub(super) fn new(whole: &Finder, broken: &Finder) -> Option<Self> {
        let beginnings = || whole.patterns().chain(broken.patterns()).map(beginning);
        let shortest = |finder: &Finder| finder.patterns().map(|pattern| beginning(pattern).len()).min();
        let stride =
            [shortest(whole)?.checked_sub(3)?, shortest(broken)?.checked_sub(5)?].into_iter().min()?;
        if stride < SHORTEST_STRIDE {
            return None;
        }
        let fours: BTreeSet<[u8; 4]> = beginnings().flat_map(groups).collect();
        if fours.len() > MOST_GROUPS {
            return None;
        }
        let eights: BTreeSet<[u8; 8]> = beginnings().flat_map(groups).collect();
        Some(Self {
            fours: Filter::new(fours.into_iter().map(hash_of_four)),
            eights: Filter::new(eights.iter().copied().map(hash_of_eight)),
            exact: eights.into_iter().collect(),
            stride,
        })
    }

    /// Whether a pattern could be in the text. Patterns that are not all there do not count.
    pub(super) fn suspects(&self, text: &[u8]) -> bool {
        self.finds_piece(text)
            || memchr::memchr2_iter(b'\n', b'\r', text).any(|at| self.finds_break(text, at))
    }

    fn finds_piece(&self, text: &[u8]) -> bool {
        (0..text.len()).step_by(self.stride).any(|at| {
            let group = text.get(at..).and_then(<[u8]>::first_chunk);
            group.is_some_and(|group| self.fours.may_hold(hash_of_four(*group)))
                && self.knows_around(text, at)
        })
    }

    fn knows_around(&self, text: &[u8], at: usize) -> bool {
        let starts = [at.checked_sub(4), Some(at)].into_iter().flatten();
        let mut groups = starts.filter_map(|start| text.get(start..)?.first_chunk());
        groups.any(|group| self.knows_eight(*group))
    }

    /// Looks across the line break at `at`, and those right after it.
    fn finds_break(&self, text: &[u8], at: usize) -> bool {
        let Some((before, after)) = text.split_at_checked(at) else { return false };
        let (Some([second, first]), Some(next)) = (before.last_chunk(), after.get(1..)) else { return false };
        if is_break(*first) {
            // The first of several breaks has looked.
            return false;
        }
        let ahead = match next {
            [third, fourth, ..] if !is_break(*third) && !is_break(*fourth) => Some([*third, *fourth]),
            _ => unbroken(next.iter()),
        };
        let Some([third, fourth]) = ahead else { return false };
        if !is_break(*second) && !self.fours.may_hold(hash_of_four([*second, *first, third, fourth])) {
            return false;
        }
        let early = unbroken(before.iter().rev()).zip(unbroken(next.iter()));
        let early = early.map(|([b, a], [c, d, e, f, g, h])| [a, b, c, d, e, f, g, h]);
        let late = unbroken(before.iter().rev()).map(|[f, e, d, c, b, a]| [a, b, c, d, e, f, third, fourth]);
        [early, late].into_iter().flatten().any(|group| self.knows_eight(group))
    }

    fn knows_eight(&self, group: [u8; 8]) -> bool {
        self.eights.may_hold(hash_of_eight(group)) && self.exact.binary_search(&group).is_ok()
    }
}

fn beginning(pattern: &[u8]) -> &[u8] {
    pattern.get(..BEGINNING).unwrap_or(pattern)
}

/// The next `N` bytes that are no breaks.
fn unbroken<'a, const N: usize>(bytes: impl Iterator<Item = &'a u8>) -> Option<[u8; N]> {
    let mut bytes = bytes.filter(|byte| !is_break(**byte));
    let mut found = [0; N];
    for place in &mut found {
        *place = *bytes.next()?;
    }
    Some(found)
}

/// Every group of `N` bytes.
fn groups<const N: usize>(text: &[u8]) -> impl Iterator<Item = [u8; N]> {
    text.windows(N).filter_map(|window| window.first_chunk().copied())
}

fn hash_of_four(group: [u8; 4]) -> u32 {
    u32::from_le_bytes(group).wrapping_mul(0x9e37_79b1) >> (32 - BITS)
}

fn hash_of_eight(group: [u8; 8]) -> u32 {
    let hash = u64::from_le_bytes(group).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    u32::try_from(hash).unwrap_or_default()
}

/// A set of hashes of [`BITS`] bits; exact about hashes, hence not about groups.
struct Filter(Vec<u64>);

impl Filter {
    fn new(hashes: impl Iterator<Item = u32>) -> Self {
        let mut words = vec![0; 1 << (BITS - 6)];
        for hash in hashes {
            if let Some(word) = words.get_mut((hash >> 6) as usize) {
                *word |= 1 << (hash & 63);
            }
        }
        Self(words)
    }

    fn may_hold(&self, hash: u32) -> bool {
        self.0.get((hash >> 6) as usize).is_some_and(|word| word >> (hash & 63) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::forms;
    use super::super::unbroken::Unbroken;
    use super::*;

    fn finders(secrets: &[String]) -> (Finder, Finder) {
        let forms = forms::of_all(secrets);
        (Finder::new(forms.plain).unwrap(), Finder::new(forms.base64).unwrap())
    }

    /// Puts breaks into a text: after so many bytes, one of these.
    fn broken(text: &[u8], breaks: &[(usize, usize)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        for (width, which) in breaks.iter().cycle() {
            let (line, after) = rest.split_at((*width).min(rest.len()));
            out.extend_from_slice(line);
            if after.is_empty() {
                break;
            }
            out.extend_from_slice([&b"\n"[..], b"\r\n", b"\n\n", b"\r"][*which]);
            rest = after;
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn what_the_search_would_find_is_suspected(
            secrets in prop::collection::vec("[A-Za-z0-9+/_-]{16,60}|[ -~]{16,40}|[a-z]{13,20}", 1..6),
            which in any::<prop::sample::Index>(),
            breaks in prop::collection::vec((prop_oneof![1_usize..4, 1_usize..90], 0_usize..4), 1..6),
            before in "[a-zA-Z \n]{0,60}", after in "[a-zA-Z \n]{0,60}",
        ) {
            let (plain, base64) = finders(&secrets);
            let Some(skim) = Skim::new(&plain, &base64) else { return Ok(()) };
            let around = |text: &[u8]| [before.as_bytes(), text, after.as_bytes()].concat();
            let patterns: Vec<&[u8]> = base64.patterns().collect();
            let text = around(&broken(patterns[which.index(patterns.len())], &breaks));
            let mut unbroken = Unbroken::default();
            unbroken.fill(&text);
            let mut found = false;
            base64.each(unbroken.text(), |_| found = true);
            prop_assert!(found && skim.suspects(&text), "{:?}", String::from_utf8_lossy(&text));
            let patterns: Vec<&[u8]> = plain.patterns().collect();
            let text = around(patterns[which.index(patterns.len())]);
            prop_assert!(skim.suspects(&text), "{:?}", String::from_utf8_lossy(&text));
        }
    }

    /// One pattern alone, so that nothing else gives it away: wherever it stands, and wherever it is broken in two,
    /// three or single bytes.
    #[test]
    fn no_place_and_no_break_hides_a_pattern() {
        for length in [13, 14, 16, 21, 47, 60] {
            let pattern = &b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"[..length];
            let finder = || Finder::new(BTreeSet::from([pattern.to_vec()])).unwrap();
            let skim = Skim::new(&finder(), &finder()).unwrap();
            let pieces = |first: usize, second: usize| {
                [&pattern[..first], b"\n", &pattern[first..second], b"\r\n", &pattern[second..]].concat()
            };
            let mut broken: Vec<Vec<u8>> = (0..=length)
                .flat_map(|first| (first..=length).map(move |second| pieces(first, second)))
                .collect();
            broken.push(pattern.iter().flat_map(|byte| [*byte, b'\n']).collect());
            broken.push(pattern.to_vec());
            for text in broken {
                for before in 0..length {
                    let text = ["-".repeat(before).as_bytes(), &text, b"-"].concat();
                    assert!(skim.suspects(&text), "{:?}", String::from_utf8_lossy(&text));
                }
            }
        }
    }

    #[test]
    fn no_place_hides_a_pattern_that_is_never_broken() {
        let (pattern, long) = (b"abcdefghijklm".to_vec(), vec![b'x'; 60]);
        let finder = |pattern: &Vec<u8>| Finder::new(BTreeSet::from([pattern.clone()])).unwrap();
        let skim = Skim::new(&finder(&pattern), &finder(&long)).unwrap();
        for before in 0..40 {
            assert!(skim.suspects(&["-".repeat(before).as_bytes(), &pattern].concat()), "{before}");
        }
    }

    #[test]
    fn ordinary_text_is_not_suspected() {
        let secrets = ["Zq81xPw3LmN7Ab4c".to_owned(), "postgres://u:Zq81xPw3LmN7@db".to_owned()];
        let (plain, base64) = finders(&secrets);
        let skim = Skim::new(&plain, &base64).unwrap();
        assert!(!skim.suspects(include_bytes!("../../README.md")));
        assert!(
            skim.suspects(b"connected to postgres://u:Zq8"),
            "so long a beginning is looked at more closely"
        );
    }
}
