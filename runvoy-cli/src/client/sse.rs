//! Server-Sent Events, from bytes as they arrive. Time is linear in the bytes, memory bounded.

use std::fmt;

/// Longest line, and most data of one event. A block of 64 KiB is below 512 KiB as JSON.
const LIMIT: usize = 8 * 1024 * 1024;
/// Read bytes are dropped from the front in steps of at least this.
const COMPACT: usize = 64 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty stands for `message`.
    pub(crate) name: String,
    /// Its data, lines joined by newlines.
    pub(crate) data: Vec<u8>,
    /// Its own id, if it has one.
    pub(crate) id: Option<String>,
}

/// The stream is none: a line or an event beyond every limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is longer than {LIMIT} bytes")
    }
}

impl std::error::Error for TooLong {}

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// Where the unread bytes begin.
    start: usize,
    /// Up to where there is no line end.
    scanned: usize,
    /// The last line ended in a carriage return, so a newline right after belongs to it.
    after_return: bool,
    /// Something was read already: no byte order mark can follow.
    begun: bool,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start >= COMPACT && self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, if it has arrived.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, TooLong> {
        loop {
            let Some((start, end)) = self.next_line()? else { return Ok(None) };
            if start == end {
                let event = std::mem::take(&mut self.event);
                // Without data there is nothing to tell.
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(event));
                }
            } else {
                self.field(start, end)?;
            }
        }
    }

    /// Bounds of the next whole line, without its end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, TooLong> {
        if !self.begun && !self.skip_mark() {
            return Ok(None);
        }
        if self.after_return && self.start < self.buffer.len() {
            self.after_return = false;
            if self.buffer.get(self.start) == Some(&b'\n') {
                self.start += 1;
                self.scanned = self.scanned.max(self.start);
            }
        }
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(at) = memchr::memchr2(b'\n', b'\r', unseen) else {
            self.scanned = self.buffer.len();
            return if self.scanned - self.start > LIMIT { Err(TooLong) } else { Ok(None) };
        };
        let line = (self.start, self.scanned + at);
        self.after_return = unseen.get(at) == Some(&b'\r');
        self.start = line.1 + 1;
        self.scanned = self.start;
        Ok(Some(line))
    }

    /// Passes over a byte order mark; false while it is not known whether there is one.
    fn skip_mark(&mut self) -> bool {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.buffer.starts_with(MARK) {
            self.start = MARK.len();
            self.scanned = self.start;
        } else if MARK.starts_with(&self.buffer) {
            return false;
        }
        self.begun = true;
        true
    }

    fn field(&mut self, start: usize, end: usize) -> Result<(), TooLong> {
        let line = self.buffer.get(start..end).unwrap_or_default();
        let colon = memchr::memchr(b':', line.get(..line.len().min(8)).unwrap_or_default());
        let (name, value) = match colon {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push(b'\n');
                }
                if self.event.data.len() + value.len() > LIMIT {
                    return Err(TooLong);
                }
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.event.id = Some(String::from_utf8_lossy(value).into_owned()),
            // Comments keep the connection alive; other fields are not for us.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(chunks: &[&[u8]]) -> Result<Vec<Event>, TooLong> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk);
            while let Some(event) = parser.next_event()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event { name: name.into(), data: data.into(), id: id.map(str::to_owned) }
    }

    #[test]
    fn reads_fields_comments_and_every_line_end() {
        let text = b"\xef\xbb\xbf: hello\n\nevent: block\r\ndata:{\"a\": 1}\rid: 7\n\ndata\ndata:  x\n\nid: 9\n\ndata: cut";
        let want = [event("block", "{\"a\": 1}", Some("7")), event("", "\n x", None)];
        assert_eq!(parse(&[text]).unwrap(), want);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let chunk = vec![b'x'; 1024 * 1024];
        assert_eq!(parse(&[chunk.as_slice(); 9]), Err(TooLong));
        let line = [b"data:".as_slice(), &chunk, b"\n"].concat();
        assert_eq!(parse(&[line.as_slice(); 9]), Err(TooLong));
    }

    #[test]
    fn time_is_linear_when_a_line_comes_byte_by_byte() {
        let mut parser = Parser::default();
        parser.push(b"data:");
        for _ in 0..1_000_000 {
            parser.push(b"x");
            assert_eq!(parser.next_event(), Ok(None));
        }
        parser.push(b"\n\n");
        assert_eq!(parser.next_event().unwrap().unwrap().data.len(), 1_000_000);
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            lines in prop::collection::vec("(data|event|id|x|)(:| |: |)[a-z:\u{feff}é ]{0,6}(\n|\r|\r\n|\n\n)", 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = lines.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&chunks), parse(&[&text]));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&[&bytes]);
        }
    }
}
