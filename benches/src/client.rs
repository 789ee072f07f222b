//! An HTTP/1.1 client that does as little as it can, so that the server is what is measured.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem};
use runvoy_core::api::{API_KEY_HEADER, BASE_PATH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{KEY, Result};

/// Read at once.
const READ_BYTES: usize = 256 * 1024;

/// A request with the key of the measurements.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Bytes {
    let length = body.len();
    let text = format!(
        "{method} {BASE_PATH}{path} HTTP/1.1\r\nhost: localhost\r\n{API_KEY_HEADER}: {KEY}\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    text.into()
}

/// A connection that is kept alive from request to request.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// What came back.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

struct Head {
    status: u16,
    /// `None` for a body in chunks.
    length: Option<usize>,
    bytes: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        let head = self.send(request).await?;
        let length = head.length.ok_or("an answer without a length")?;
        let whole = head.bytes + length;
        while self.buffer.len() < whole {
            self.fill(whole).await?;
        }
        let body = self.buffer.get(head.bytes..whole).unwrap_or_default();
        Ok(Answer { status: head.status, body })
    }

    /// Sends a request, checks the status and reads the answer as JSON.
    pub(crate) async fn json(&mut self, request: &[u8], status: u16) -> Result<serde_json::Value> {
        let answer = self.ask(request).await?;
        if answer.status != status {
            return Err(unexpected(&answer).into());
        }
        Ok(serde_json::from_slice(answer.body)?)
    }

    /// Sends a request and hands over every line of an answer in chunks, each cut after `most` bytes.
    pub(crate) async fn lines(
        &mut self,
        request: &[u8],
        most: usize,
        mut on_line: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let head = self.send(request).await?;
        if head.status != 200 || head.length.is_some() {
            return Err(format!("status {} instead of a stream", head.status).into());
        }
        let mut lines = Lines { part: Vec::new(), most };
        let mut chunks = Chunks::Size(0);
        let _ = self.buffer.split_to(head.bytes);
        loop {
            chunks = chunks.feed(&self.buffer, |piece| lines.feed(piece, &mut on_line))?;
            self.buffer.clear();
            if matches!(chunks, Chunks::Done) {
                return Ok(());
            }
            self.fill(READ_BYTES).await?;
        }
    }

    async fn send(&mut self, request: &[u8]) -> Result<Head> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            self.fill(READ_BYTES).await?;
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                return parse(self.buffer.get(..at + 4).unwrap_or_default());
            }
        }
    }

    async fn fill(&mut self, room: usize) -> Result<()> {
        self.buffer.reserve(room.saturating_sub(self.buffer.len()).max(4096));
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn unexpected(answer: &Answer<'_>) -> String {
    format!("status {}: {}", answer.status, String::from_utf8_lossy(answer.body))
}

/// Reads a head as hyper writes it: names in lower case, one space.
fn parse(head: &[u8]) -> Result<Head> {
    let text = |bytes: Option<&[u8]>| std::str::from_utf8(bytes.unwrap_or_default()).map(str::to_owned);
    let status = text(head.get(9..12))?.parse()?;
    let name = b"\r\ncontent-length: ";
    let length = match memmem::find(head, name).and_then(|at| head.get(at + name.len()..)) {
        None => None,
        Some(rest) => Some(text(memchr(b'\r', rest).and_then(|end| rest.get(..end)))?.parse()?),
    };
    Ok(Head { status, length, bytes: head.len() })
}

/// Where in a chunked body a reader is.
enum Chunks {
    /// In the line with a chunk's size, so far this.
    Size(usize),
    /// So many bytes before the end of a chunk.
    Data(usize),
    /// Before the line end that follows a chunk.
    AfterData,
    /// Before the line end that follows the last chunk.
    AfterAll,
    Done,
}

impl Chunks {
    fn feed(self, mut bytes: &[u8], mut on_data: impl FnMut(&[u8]) -> Result<()>) -> Result<Self> {
        let mut state = self;
        while let Some((first, rest)) = bytes.split_first() {
            let is_end = *first == b'\n';
            state = match state {
                Self::Data(left) => {
                    let (data, rest) = bytes.split_at(left.min(bytes.len()));
                    on_data(data)?;
                    bytes = rest;
                    if data.len() == left { Self::AfterData } else { Self::Data(left - data.len()) }
                }
                Self::Size(size) => {
                    bytes = rest;
                    match char::from(*first).to_digit(16) {
                        Some(digit) => Self::Size(size * 16 + digit as usize),
                        None if is_end && size == 0 => Self::AfterAll,
                        None if is_end => Self::Data(size),
                        None => Self::Size(size),
                    }
                }
                Self::AfterData => {
                    bytes = rest;
                    if is_end { Self::Size(0) } else { Self::AfterData }
                }
                Self::AfterAll => {
                    bytes = rest;
                    if is_end { Self::Done } else { Self::AfterAll }
                }
                Self::Done => return Err("bytes after the last chunk".into()),
            };
        }
        Ok(state)
    }
}

/// Cuts pieces into lines.
struct Lines {
    part: Vec<u8>,
    most: usize,
}

impl Lines {
    fn feed(&mut self, mut piece: &[u8], on_line: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some(at) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(at);
            if self.part.is_empty() {
                on_line(line.get(..self.most).unwrap_or(line))?;
            } else {
                self.keep(line);
                on_line(&self.part)?;
                self.part.clear();
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        self.keep(piece);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.part.len());
        self.part.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_chunks_are_found_wherever_they_are_cut() {
        let body = b"5\r\nevent\r\n13\r\n: log\nid: 7\ndata: x\r\n2\r\n\n\n\r\n0\r\n\r\n";
        for size in 1..=body.len() {
            let mut chunks = Chunks::Size(0);
            let mut lines = Lines { part: Vec::new(), most: 100 };
            let mut seen = Vec::new();
            for piece in body.chunks(size) {
                let mut on_line = |line: &[u8]| {
                    seen.push(String::from_utf8_lossy(line).into_owned());
                    Ok(())
                };
                chunks = chunks.feed(piece, |data| lines.feed(data, &mut on_line)).unwrap();
            }
            assert!(matches!(chunks, Chunks::Done));
            assert_eq!(seen, ["event: log", "id: 7", "data: x", ""], "pieces of {size}");
        }
    }

    #[test]
    fn a_head_is_read() {
        let head = parse(b"HTTP/1.1 202 Accepted\r\ncontent-type: x\r\ncontent-length: 12\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length), (202, Some(12)));
        let head = parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length), (200, None));
    }
}
