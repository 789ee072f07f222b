//! Logs in segment files, and in memory: both keep the contract, and damage to files is told, never made up for.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proptest::prelude::*;
use runvoy_core::clock::SystemClock;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::{Stream, Tail};
use runvoy_core::port::{LogItem, LogSource, ReadLimit};
use runvoy_core::testing::log_source::LogHarness;
use runvoy_local::log_files::LogFiles;
use runvoy_local::memory::MemoryLogs;
use runvoy_task::block::{Header, encode};
use runvoy_task::{EndReason, EndRecord, layout};
use tempfile::TempDir;

/// Small, so that a short log has many.
const SEGMENT: u64 = 8 * 1024;
const INDEX_EVERY: u64 = 1024;

/// Writes as an agent does.
#[derive(Default)]
struct Writer {
    next: u64,
    segment: Option<(u64, u64)>,
    indexed: Option<u64>,
}

fn dir(root: &Path, id: ExecutionId) -> PathBuf {
    let id = id.to_string();
    root.join(&id[..2]).join(&id)
}

fn append_to(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

impl Writer {
    fn append(&mut self, dir: &Path, stream: Stream, rest: Tail, payload: &[u8]) {
        let log = dir.join(layout::LOG);
        fs::create_dir_all(&log).unwrap();
        let newlines = payload.iter().filter(|byte| **byte == b'\n').count() as u64;
        let tail = if payload.ends_with(b"\n") { Tail::Newline } else { rest };
        let events = newlines + u64::from(tail != Tail::Newline);
        let (first, length) = match self.segment {
            Some((first, length)) if length < SEGMENT => (first, length),
            _ => {
                self.indexed = None;
                (self.next, 0)
            }
        };
        let time_ms = 1000 + self.next / 50;
        let header =
            Header { len: 0, events: events.try_into().unwrap(), first: self.next, time_ms, stream, tail };
        let mut block = Vec::new();
        encode(&header, payload, &mut block);
        append_to(&log.join(layout::segment_name(first, "seg")), &block);
        if self.indexed.is_none_or(|at| length >= at + INDEX_EVERY) {
            let entry = [self.next.to_le_bytes(), length.to_le_bytes()].concat();
            append_to(&log.join(layout::segment_name(first, "idx")), &entry);
            self.indexed = Some(length);
        }
        self.segment = Some((first, length + block.len() as u64));
        self.next += events;
    }

    fn end(&self, dir: &Path, id: ExecutionId) {
        let record = EndRecord {
            version: EndRecord::VERSION,
            execution_id: id.to_string(),
            exit_code: Some(0),
            signal: None,
            reason: EndReason::Exited,
            message: None,
            started_at_ms: 1000,
            finished_at_ms: 2000,
            events: self.next,
            bytes: 0,
            replacements: 0,
            hash: String::new(),
            pid_namespace: false,
            phases: Vec::new(),
        };
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(".end.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        fs::rename(dir.join(".end.json"), dir.join(layout::END)).unwrap();
    }
}

struct Files {
    root: TempDir,
    source: Arc<LogFiles>,
    writers: Mutex<HashMap<ExecutionId, Writer>>,
}

impl Files {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let source = Arc::new(LogFiles::new(root.path()).unwrap());
        Self { root, source, writers: Mutex::default() }
    }

    fn write(&self, id: ExecutionId, write: impl FnOnce(&mut Writer, &Path)) {
        write(self.writers.lock().unwrap().entry(id).or_default(), &dir(self.root.path(), id));
    }
}

#[async_trait]
impl LogHarness for Files {
    fn source(&self) -> Arc<dyn LogSource> {
        Arc::clone(&self.source) as Arc<dyn LogSource>
    }

    fn reopened(&self) -> Arc<dyn LogSource> {
        Arc::new(LogFiles::new(self.root.path()).unwrap())
    }

    async fn append(&self, id: ExecutionId, stream: Stream, bytes: &[u8]) {
        self.write(id, |writer, dir| writer.append(dir, stream, Tail::Part, bytes));
    }

    async fn close(&self, id: ExecutionId, stream: Stream, bytes: &[u8]) {
        self.write(id, |writer, dir| writer.append(dir, stream, Tail::NoNewline, bytes));
    }

    async fn lose(&self, id: ExecutionId, events: u64) {
        self.write(id, |writer, _| writer.next += events);
    }

    async fn end(&self, id: ExecutionId) {
        self.write(id, |writer, dir| writer.end(dir, id));
    }
}

mod files {
    runvoy_core::log_source_conformance!(super::Files::new());
}

struct Memory(Arc<MemoryLogs>);

impl Memory {
    fn new() -> Self {
        Self(Arc::new(MemoryLogs::new(Arc::new(SystemClock))))
    }
}

#[async_trait]
impl LogHarness for Memory {
    fn source(&self) -> Arc<dyn LogSource> {
        Arc::clone(&self.0) as Arc<dyn LogSource>
    }

    fn reopened(&self) -> Arc<dyn LogSource> {
        self.source()
    }

    async fn append(&self, id: ExecutionId, stream: Stream, bytes: &[u8]) {
        self.0.writer(id).append(stream, bytes.to_vec());
    }

    async fn close(&self, id: ExecutionId, stream: Stream, bytes: &[u8]) {
        self.0.writer(id).close(stream, bytes.to_vec());
    }

    async fn lose(&self, id: ExecutionId, events: u64) {
        self.0.writer(id).lose(events);
    }

    async fn end(&self, id: ExecutionId) {
        self.0.writer(id).end();
    }
}

mod memory {
    runvoy_core::log_source_conformance!(super::Memory::new());
}

type Event = (u64, Stream, Vec<u8>, Tail);

/// What happens to a file of a log.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, prop::sample::Index, u8),
    CutLast(prop::sample::Index),
    Cut(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), index(), 1_u8..).prop_map(|(file, at, bits)| Damage::Flip(file, at, bits)),
        index().prop_map(Damage::CutLast),
        (index(), index()).prop_map(|(file, at)| Damage::Cut(file, at)),
        index().prop_map(Damage::Remove),
    ]
}

fn inflict(log: &Path, damage: &Damage) {
    let mut files: Vec<_> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let cut = |path: &Path, at: &prop::sample::Index| {
        let length = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(at.index(length + 1) as u64).unwrap();
    };
    match damage {
        Damage::Flip(file, at, bits) => {
            let path = file.get(&files);
            let mut bytes = fs::read(path).unwrap();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
                fs::write(path, bytes).unwrap();
            }
        }
        Damage::CutLast(at) => {
            cut(files.iter().rfind(|path| path.extension().unwrap() == "seg").unwrap(), at)
        }
        Damage::Cut(file, at) => cut(file.get(&files), at),
        Damage::Remove(file) => fs::remove_file(file.get(&files)).unwrap(),
    }
}

/// Events in the order they were read, and gaps; and whether the log was said to be complete.
async fn read_all(
    source: &LogFiles,
    id: ExecutionId,
    events: u64,
) -> (Vec<Event>, Vec<(u64, u64)>, Option<bool>) {
    let (mut read, mut gaps, mut after) = (Vec::new(), Vec::new(), None);
    for _ in 0..100_000 {
        let limit = ReadLimit { events, bytes: 64 * 1024 };
        let page = source.read(id, after.as_ref(), limit).await.unwrap();
        let is_last = page.items.is_empty() || page.end.is_some();
        for item in page.items {
            match item {
                LogItem::Block(block) => read.extend(
                    block.lines().map(|line| (line.number, block.stream, line.bytes.to_vec(), line.tail)),
                ),
                LogItem::Gap { from, to, .. } => gaps.push((from, to)),
            }
        }
        if is_last {
            return (read, gaps, page.end.map(|end| end.complete));
        }
        after = Some(page.next);
    }
    panic!("the log does not end");
}

fn check_damaged(payloads: &[(bool, Vec<u8>)], damages: &[Damage], ends: bool, events: u64) {
    let (root, id, mut writer) = (TempDir::new().unwrap(), ExecutionId::random(), Writer::default());
    let dir = dir(root.path(), id);
    for (stderr, payload) in payloads {
        writer.append(&dir, if *stderr { Stream::Stderr } else { Stream::Stdout }, Tail::Part, payload);
    }
    if ends {
        writer.end(&dir, id);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (truth, no_gaps, complete) = read_all(&LogFiles::new(root.path()).unwrap(), id, u64::MAX).await;
        assert_eq!((truth.len() as u64, no_gaps, complete), (writer.next, Vec::new(), ends.then_some(true)));
        for damage in damages {
            inflict(&dir.join(layout::LOG), damage);
        }
        let (read, gaps, complete) = read_all(&LogFiles::new(root.path()).unwrap(), id, events).await;
        for event in &read {
            assert_eq!(event, &truth[usize::try_from(event.0).unwrap()], "nothing is invented");
        }
        let mut covered: Vec<_> =
            read.iter().map(|event| (event.0, event.0 + 1)).chain(gaps.clone()).collect();
        covered.sort_unstable();
        assert!(covered.iter().zip(covered.iter().skip(1)).all(|(one, next)| one.1 == next.0), "{covered:?}");
        assert!(read.is_sorted_by(|one, next| one.0 < next.0), "nothing is repeated");
        assert!(covered.first().is_none_or(|(from, _)| *from == 0));
        if ends {
            assert_eq!(covered.last().map_or(0, |(_, to)| *to), writer.next, "what is missing is told");
            assert_eq!(complete, Some(gaps.is_empty() && read.len() == truth.len()));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn damage_is_told_and_nothing_made_up(
        payloads in prop::collection::vec((any::<bool>(), "[a-z\n]{1,200}".prop_map(String::into_bytes)), 1..200),
        damages in prop::collection::vec(damage(), 1..3),
        ends: bool,
        events in 1_u64..300,
    ) {
        check_damaged(&payloads, &damages, ends, events);
    }
}

/// Bytes of a command that look like a block are not taken for one.
#[tokio::test]
async fn a_block_in_the_output_is_output() {
    let files = Files::new();
    let id = ExecutionId::random();
    let mut forged = Vec::new();
    let header =
        Header { len: 0, events: 1, first: 2, time_ms: 1, stream: Stream::Stdout, tail: Tail::Newline };
    encode(&header, b"forged\n", &mut forged);
    files.append(id, Stream::Stdout, b"first\n").await;
    files.append(id, Stream::Stdout, &forged).await;
    let segment = dir(files.root.path(), id).join(layout::LOG).join(layout::segment_name(0, "seg"));
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|window| window == b"forged").unwrap() - 37 - 8;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    files.end(id).await;
    let (read, _, complete) = read_all(&files.source, id, 10).await;
    assert!(read.iter().all(|event| event.2 != b"forged"));
    assert_eq!(complete, Some(false));
}

/// Pages of a large log; run with `--run-ignored all --no-capture` for the figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes 1 GB"]
async fn figures() {
    let root = TempDir::new().unwrap();
    let id = ExecutionId::random();
    let log = dir(root.path(), id).join(layout::LOG);
    fs::create_dir_all(&log).unwrap();
    let lines: Vec<u8> = [vec![b'x'; 99], b"\n".to_vec()].concat().repeat(655);
    let mut next = 0;
    for _ in 0..16 {
        let (mut segment, mut index) = (Vec::new(), Vec::new());
        let first = next;
        for _ in 0..1000 {
            index.extend([next.to_le_bytes(), (segment.len() as u64).to_le_bytes()].concat());
            let (time_ms, stream) = (next, Stream::Stdout);
            encode(
                &Header { len: 0, events: 655, first: next, time_ms, stream, tail: Tail::Newline },
                &lines,
                &mut segment,
            );
            next += 655;
        }
        fs::write(log.join(layout::segment_name(first, "seg")), segment).unwrap();
        fs::write(log.join(layout::segment_name(first, "idx")), index).unwrap();
    }
    let source = LogFiles::new(root.path()).unwrap();
    let mut times = Vec::new();
    for number in 0..2000_u64 {
        let first = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (next - 1000);
        let after = runvoy_core::log::Cursor::before_event(first);
        let since = std::time::Instant::now();
        let page = source.read(id, Some(&after), ReadLimit { events: 1000, bytes: 1 << 20 }).await.unwrap();
        times.push(since.elapsed());
        assert_eq!(page.next.next_event(), Some(first + 1000));
    }
    times.sort_unstable();
    println!("page of 1,000 of {next} lines: p50 {:?}, p99 {:?}", times[1000], times[1980]);
    let writer = Mutex::new(Writer { next, ..Writer::default() });
    let mut times = Vec::new();
    for _ in 0..1000 {
        let after = source.tail(id, 0).await.unwrap();
        let wait = source.changed(id, after.as_ref(), std::time::Duration::from_secs(5));
        let write = async {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            writer.lock().unwrap().append(&dir(root.path(), id), Stream::Stdout, Tail::Part, b"hello\n");
            std::time::Instant::now()
        };
        let wait = async {
            wait.await.unwrap();
            std::time::Instant::now()
        };
        let (woken, written) = tokio::join!(wait, write);
        times.push(woken.saturating_duration_since(written));
        assert!(
            source.read(id, after.as_ref(), ReadLimit { events: 9, bytes: 9 }).await.unwrap().items.len()
                == 1
        );
    }
    times.sort_unstable();
    println!("write to reader awake: p50 {:?}, p99 {:?}", times[500], times[990]);
}
