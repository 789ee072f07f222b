//! Conformance of a [`LogSource`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::id::ExecutionId;
use crate::log::{Cursor, LogBlock, Stream, Tail};
use crate::port::{LogEnd, LogError, LogItem, LogSource, ReadLimit};

/// Longer than any wait that ends by itself.
const LONG: Duration = Duration::from_secs(30);
const ALL: ReadLimit = ReadLimit { events: u64::MAX, bytes: u64::MAX };

/// What a backend provides, so that the suite can write what it reads.
#[async_trait]
pub trait LogHarness: Send + Sync {
    /// The source under test.
    fn source(&self) -> Arc<dyn LogSource>;

    /// Another source over the same logs, as a restarted server would have.
    fn reopened(&self) -> Arc<dyn LogSource>;

    /// Appends at most 64 KiB that a command wrote. A line without a newline goes on in the stream's next bytes.
    async fn append(&self, id: ExecutionId, stream: Stream, bytes: &[u8]);

    /// Appends the last bytes of a stream, which may lack a newline.
    async fn close(&self, id: ExecutionId, stream: Stream, bytes: &[u8]);

    /// Loses events for ever.
    async fn lose(&self, id: ExecutionId, events: u64);

    /// Ends the log, with an end record.
    async fn end(&self, id: ExecutionId);
}

/// A log as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Whole {
    /// Each event: its number, its stream, its bytes, how it ends.
    events: Vec<(u64, Stream, Vec<u8>, Tail)>,
    gaps: Vec<(u64, u64)>,
    end: Option<LogEnd>,
}

impl Whole {
    fn take(&mut self, items: Vec<LogItem>) {
        for item in items {
            match item {
                LogItem::Block(block) => self.take_block(&block),
                LogItem::Gap { from, to, next: _ } => self.gaps.push((from, to)),
            }
        }
    }

    fn take_block(&mut self, block: &LogBlock) {
        assert_eq!(block.lines().count() as u64, block.len());
        let lines = block.lines().map(|line| (line.number, block.stream, line.bytes.to_vec(), line.tail));
        self.events.extend(lines);
    }

    fn bytes(&self, stream: Stream) -> Vec<u8> {
        let of_stream = self.events.iter().filter(|event| event.1 == stream);
        of_stream
            .flat_map(|(_, _, bytes, tail)| {
                [&bytes[..], if *tail == Tail::Newline { b"\n" } else { b"" }].concat()
            })
            .collect()
    }
}

/// Reads until there is no more, page by page; each with a source of its own, if `reopen`.
async fn read_all(harness: &dyn LogHarness, id: ExecutionId, limit: ReadLimit, reopen: bool) -> Whole {
    let (mut whole, mut after): (Whole, Option<Cursor>) = Default::default();
    loop {
        let source = if reopen { harness.reopened() } else { harness.source() };
        let page = source.read(id, after.as_ref(), limit).await.unwrap();
        assert_eq!(
            page.items.last().map_or(after.as_ref(), |item| Some(item.next())).unwrap_or(&page.next),
            &page.next
        );
        let is_last = page.items.is_empty() || page.end.is_some();
        if page.end.is_none() {
            assert!(whole.end.is_none(), "pages after the end");
        }
        whole.take(page.items);
        whole.end = page.end;
        after = Some(page.next);
        if is_last {
            return whole;
        }
    }
}

/// A log with everything that a log can hold; what stdout and stderr got.
async fn write_sample(harness: &dyn LogHarness, id: ExecutionId) -> (Vec<u8>, Vec<u8>) {
    let mut out = b"one\ntwo\n".to_vec();
    harness.append(id, Stream::Stdout, b"one\ntwo\n").await;
    harness.append(id, Stream::Stderr, b"\xff\xfe\n\n").await;
    for number in 0..200 {
        let line = format!("line {number}\n");
        harness.append(id, Stream::Stdout, line.as_bytes()).await;
        out.extend_from_slice(line.as_bytes());
    }
    let long = [vec![b'x'; 40_000], b"\n".to_vec(), vec![b'y'; 20_000]].concat();
    for bytes in [&b"prompt> "[..], b"answer\n", &long, b"\n", b"\n\n\n"] {
        harness.append(id, Stream::Stdout, bytes).await;
        out.extend_from_slice(bytes);
    }
    harness.close(id, Stream::Stdout, b"last\nunfinished").await;
    out.extend_from_slice(b"last\nunfinished");
    (out, b"\xff\xfe\n\n".to_vec())
}

/// An execution without a log reads as an empty page.
pub async fn nothing_reads_as_an_empty_page(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    let page = harness.source().read(id, None, ALL).await.unwrap();
    assert!(page.items.is_empty() && page.end.is_none());
    let again = harness.source().read(id, Some(&page.next), ALL).await.unwrap();
    assert!(again.items.is_empty() && again.next == page.next);
    assert_eq!(harness.source().tail(id, 10).await.unwrap(), None);
}

/// What was written is what is read, byte for byte, each stream in its order, numbered without holes.
pub async fn bytes_are_exact(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    let (stdout, stderr) = write_sample(harness, id).await;
    harness.end(id).await;
    let whole = read_all(harness, id, ALL, false).await;
    assert_eq!(whole.bytes(Stream::Stdout), stdout);
    assert_eq!(whole.bytes(Stream::Stderr), stderr);
    assert!(whole.events.iter().enumerate().all(|(at, event)| event.0 == at as u64));
    assert_eq!(whole.events.last().unwrap().3, Tail::NoNewline);
    assert_eq!((whole.gaps, whole.end), (Vec::new(), Some(LogEnd { complete: true })));
}

/// Pages of any size give the same events, and no page is larger than its limit.
pub async fn pages_of_any_size_give_the_same(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    write_sample(harness, id).await;
    harness.end(id).await;
    let whole = read_all(harness, id, ALL, false).await;
    for events in [1, 2, 3, 7, 199, 1000] {
        assert_eq!(read_all(harness, id, ReadLimit { events, ..ALL }, false).await, whole, "{events} events");
        let page = harness.source().read(id, None, ReadLimit { events, ..ALL }).await.unwrap();
        let mut read = Whole::default();
        read.take(page.items);
        assert!((1..=events).contains(&(read.events.len() as u64)));
    }
    for bytes in [1, 100, 30_000] {
        assert_eq!(read_all(harness, id, ReadLimit { bytes, ..ALL }, false).await, whole, "{bytes} bytes");
    }
}

/// A reader that starts anew with every page misses nothing.
pub async fn a_reader_may_restart_between_pages(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    write_sample(harness, id).await;
    harness.end(id).await;
    let whole = read_all(harness, id, ALL, false).await;
    assert_eq!(read_all(harness, id, ReadLimit { events: 13, ..ALL }, true).await, whole);
}

/// A reader that keeps up with the writer reads the same as one that comes late.
pub async fn following_gives_the_same(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    let source = harness.source();
    let mut followed = Whole::default();
    let write = async {
        write_sample(harness, id).await;
        harness.end(id).await;
    };
    let follow = async {
        let mut after = None;
        while followed.end.is_none() {
            source.changed(id, after.as_ref(), LONG).await.unwrap();
            let page = source.read(id, after.as_ref(), ReadLimit { events: 50, ..ALL }).await.unwrap();
            followed.take(page.items);
            (followed.end, after) = (page.end, Some(page.next));
        }
    };
    tokio::time::timeout(LONG, futures_util::future::join(write, follow)).await.expect("the follower ends");
    assert_eq!(followed, read_all(harness, id, ALL, false).await);
}

/// The end is told with the last page, not before, and again to whoever asks again.
pub async fn the_end_is_told_at_the_end(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    harness.append(id, Stream::Stdout, b"a\nb\nc\n").await;
    assert_eq!(harness.source().read(id, None, ALL).await.unwrap().end, None);
    harness.end(id).await;
    let source = harness.source();
    let first = source.read(id, None, ReadLimit { events: 2, ..ALL }).await.unwrap();
    assert_eq!(first.end, None);
    let last = source.read(id, Some(&first.next), ALL).await.unwrap();
    assert_eq!(last.end, Some(LogEnd { complete: true }));
    let after = source.read(id, Some(&last.next), ALL).await.unwrap();
    assert!(after.items.is_empty());
    assert_eq!(after.end, Some(LogEnd { complete: true }));
}

/// A log that ended without an event has ended.
pub async fn an_empty_log_ends(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    harness.end(id).await;
    let page = harness.source().read(id, None, ALL).await.unwrap();
    assert!(page.items.is_empty());
    assert_eq!(page.end, Some(LogEnd { complete: true }));
}

/// Missing events are told as a gap where they are missing, and the log is not complete, wherever one begins.
pub async fn what_is_missing_is_told(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    harness.append(id, Stream::Stdout, b"a\nb\n").await;
    harness.lose(id, 3).await;
    harness.append(id, Stream::Stdout, b"c\n").await;
    harness.lose(id, 1).await;
    harness.end(id).await;
    for limit in [ALL, ReadLimit { events: 1, ..ALL }] {
        let whole = read_all(harness, id, limit, false).await;
        assert_eq!(whole.bytes(Stream::Stdout), b"a\nb\nc\n");
        assert_eq!(whole.gaps, [(2, 5), (6, 7)]);
        assert_eq!(whole.end, Some(LogEnd { complete: false }));
    }
    let source = harness.reopened();
    let first = source.read(id, None, ReadLimit { events: 3, ..ALL }).await.unwrap();
    let last = harness.reopened().read(id, Some(&first.next), ALL).await.unwrap();
    assert_eq!(last.end, Some(LogEnd { complete: false }));
}

/// A reader that reads only the end of a complete log is told that it is complete; also of one with a gap before.
pub async fn completeness_is_of_the_whole_log(harness: &dyn LogHarness) {
    for lost in [0, 1] {
        let id = ExecutionId::random();
        write_sample(harness, id).await;
        harness.lose(id, lost).await;
        harness.append(id, Stream::Stderr, b"1\n2\n3\n").await;
        harness.end(id).await;
        let source = harness.reopened();
        let tail = source.tail(id, 2).await.unwrap();
        let page = source.read(id, tail.as_ref(), ALL).await.unwrap();
        assert_eq!(page.end, Some(LogEnd { complete: lost == 0 }));
    }
}

/// The tail of a log is its last events that are there, all of them if there are fewer.
pub async fn tail_gives_the_last_events(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    write_sample(harness, id).await;
    let source = harness.source();
    let whole = read_all(harness, id, ALL, false).await;
    for count in [1_usize, 2, 10, 205] {
        let tail = source.tail(id, count as u64).await.unwrap();
        let mut read = Whole::default();
        read.take(source.read(id, tail.as_ref(), ALL).await.unwrap().items);
        assert_eq!(read.events, whole.events[whole.events.len() - count..], "the last {count}");
    }
    assert_eq!(source.tail(id, whole.events.len() as u64 + 1).await.unwrap(), None);
    let end = source.tail(id, 0).await.unwrap();
    assert!(source.read(id, end.as_ref(), ALL).await.unwrap().items.is_empty());
}

/// A cursor of no log, and one that lies after the end, are unknown.
pub async fn foreign_cursors_are_unknown(harness: &dyn LogHarness) {
    let (id, longer, empty) = (ExecutionId::random(), ExecutionId::random(), ExecutionId::random());
    harness.append(id, Stream::Stdout, b"a\n").await;
    for _ in 0..50 {
        harness.append(longer, Stream::Stdout, b"a\nb\nc\n").await;
    }
    let source = harness.source();
    let beyond = source.read(longer, None, ALL).await.unwrap().next;
    for cursor in [beyond, Cursor::parse("no-cursor-of-ours").unwrap()] {
        for id in [id, empty] {
            let read = source.read(id, Some(&cursor), ALL).await;
            assert!(matches!(read, Err(LogError::UnknownCursor)), "{cursor}: {read:?}");
        }
    }
}

/// What is there already ends a wait at once: events, or the end.
pub async fn what_is_there_is_not_waited_for(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    let source = harness.source();
    harness.append(id, Stream::Stdout, b"a\n").await;
    let at_once = |after: Option<Cursor>| {
        let source = Arc::clone(&source);
        async move {
            let waited = source.changed(id, after.as_ref(), LONG);
            tokio::time::timeout(LONG / 6, waited).await.expect("at once").unwrap();
        }
    };
    at_once(None).await;
    let next = source.read(id, None, ALL).await.unwrap().next;
    harness.end(id).await;
    at_once(Some(next)).await;
}

/// A wait ends when its time is up, and when something comes: for everybody who waits.
pub async fn waiting_ends(harness: &dyn LogHarness) {
    let id = ExecutionId::random();
    let source = harness.source();
    source.changed(id, None, Duration::from_millis(20)).await.unwrap();
    harness.append(id, Stream::Stdout, b"a\n").await;
    let next = source.read(id, None, ALL).await.unwrap().next;
    let waits = join_all((0..20).map(|_| source.changed(id, Some(&next), LONG)));
    let write = harness.append(id, Stream::Stdout, b"b\n");
    let both = futures_util::future::join(waits, write);
    let (waited, ()) = tokio::time::timeout(LONG / 6, both).await.expect("all are woken");
    assert!(waited.into_iter().all(|waited| waited.is_ok()));
}

/// One test per property. `$make` makes a [`LogHarness`], within a runtime.
#[macro_export]
macro_rules! log_source_conformance {
    ($make:expr) => {
        $crate::log_source_conformance!(@ $make;
            nothing_reads_as_an_empty_page, bytes_are_exact, pages_of_any_size_give_the_same,
            a_reader_may_restart_between_pages, following_gives_the_same, the_end_is_told_at_the_end,
            an_empty_log_ends, what_is_missing_is_told, completeness_is_of_the_whole_log,
            tail_gives_the_last_events, foreign_cursors_are_unknown, what_is_there_is_not_waited_for, waiting_ends);
    };
    (@ $make:expr; $($property:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                $crate::testing::log_source::$property(&$make).await;
            }
        )*
    };
}
