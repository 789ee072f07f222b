//! Cuts one stream's bytes into blocks of whole lines.

use std::time::{Duration, Instant};

use runvoy_task::block::{MAX_PAYLOAD, Tail};

/// An unfinished line is shown after this much silence.
const SILENCE: Duration = Duration::from_millis(100);
/// It is shown once its oldest byte is this old, silence or not.
const OLDEST: Duration = Duration::from_millis(150);

/// A payload in two parts: what waited for the end of its line, and what came after.
pub(crate) type Parts<'a> = [&'a [u8]; 2];

/// The line cutter of one stream. Holds at most one unfinished line.
#[derive(Default)]
pub(crate) struct Cutter {
    pending: Vec<u8>,
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Due {
    oldest: Instant,
    newest: Instant,
}

impl Cutter {
    /// Takes bytes and stores the lines that they complete.
    pub(crate) fn push<E>(
        &mut self,
        mut data: &[u8],
        now: Instant,
        mut store: impl FnMut(Parts<'_>, Tail) -> Result<(), E>,
    ) -> Result<(), E> {
        while !data.is_empty() {
            let room = MAX_PAYLOAD - self.pending.len();
            let (window, beyond) = data.split_at(room.min(data.len()));
            let (cut, tail) = match memchr::memrchr(b'\n', window) {
                Some(at) => (at + 1, Tail::Newline),
                None if window.len() == room => (room, Tail::Part),
                None => {
                    debug_assert!(beyond.is_empty(), "the window is all there is");
                    self.hold(window, now);
                    return Ok(());
                }
            };
            let (block, rest) = data.split_at(cut);
            store([&self.pending, block], tail)?;
            self.clear();
            data = rest;
        }
        Ok(())
    }

    /// When the unfinished line is to be shown; `None` if there is none.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.map(|due| (due.newest + SILENCE).min(due.oldest + OLDEST))
    }

    /// Stores the unfinished line, if any.
    pub(crate) fn flush<E>(
        &mut self,
        tail: Tail,
        mut store: impl FnMut(Parts<'_>, Tail) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.pending.is_empty() {
            store([&self.pending, &[]], tail)?;
            self.clear();
        }
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8], now: Instant) {
        self.pending.extend_from_slice(bytes);
        self.due = Some(Due { oldest: self.due.map_or(now, |due| due.oldest), newest: now });
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Blocks = Vec<(Vec<u8>, Tail)>;

    fn cut(chunks: &[Vec<u8>]) -> Blocks {
        let mut blocks = Blocks::new();
        let mut cutter = Cutter::default();
        let mut store = |parts: Parts<'_>, tail| -> Result<(), Infallible> {
            blocks.push((parts.concat(), tail));
            Ok(())
        };
        for chunk in chunks {
            cutter.push(chunk, Instant::now(), &mut store).unwrap();
        }
        cutter.flush(Tail::NoNewline, &mut store).unwrap();
        blocks
    }

    proptest! {
        #[test]
        fn blocks_are_the_bytes_and_tell_their_tails(
            chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..200), 0..20),
        ) {
            let blocks = cut(&chunks);
            prop_assert_eq!(blocks.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), chunks.concat());
            for (at, (bytes, tail)) in blocks.iter().enumerate() {
                prop_assert!(!bytes.is_empty());
                prop_assert_eq!(*tail == Tail::Newline, bytes.ends_with(b"\n"));
                prop_assert!(*tail != Tail::NoNewline || at == blocks.len() - 1);
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_is_split_and_says_so() {
        let mut line = vec![b'x'; MAX_PAYLOAD + 10];
        line.push(b'\n');
        let blocks = cut(&[line[..100].to_vec(), line[100..].to_vec()]);
        assert_eq!(
            blocks.iter().map(|b| (b.0.len(), b.1)).collect::<Vec<_>>(),
            [(MAX_PAYLOAD, Tail::Part), (11, Tail::Newline)]
        );
    }

    #[test]
    fn an_unfinished_line_is_due_by_silence_or_by_age() {
        let mut cutter = Cutter::default();
        let store = |_: Parts<'_>, _| -> Result<(), Infallible> { Ok(()) };
        let start = Instant::now();
        cutter.push(b"1%\r", start, store).unwrap();
        assert_eq!(cutter.due(), Some(start + SILENCE));
        cutter.push(b"2%\r", start + Duration::from_millis(90), store).unwrap();
        assert_eq!(cutter.due(), Some(start + OLDEST));
        cutter.push(b"\n", start + Duration::from_millis(91), store).unwrap();
        assert_eq!(cutter.due(), None);
    }
}
