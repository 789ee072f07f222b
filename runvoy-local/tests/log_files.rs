//! Logs in segment files, and in memory: both keep the contract, and damage to files is told, never made up for.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

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
        let newlines = payload.split(|byte| *byte == b'\n').count() as u64 - 1;
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
            commit: None,
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
            let path = &files[file.index(files.len())];
            let mut bytes = fs::read(path).unwrap();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
                fs::write(path, bytes).unwrap();
            }
        }
        Damage::CutLast(at) => {
            if let Some(last) = files.iter().rfind(|path| path.extension().unwrap() == "seg") {
                cut(last, at);
            }
        }
        Damage::Cut(file, at) => cut(&files[file.index(files.len())], at),
        Damage::Remove(file) => fs::remove_file(&files[file.index(files.len())]).unwrap(),
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
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

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

/// An index that names places which no file has is of no use, and does no harm.
#[tokio::test]
async fn an_index_that_points_nowhere_is_passed_over() {
    let files = Files::new();
    let id = ExecutionId::random();
    for _ in 0..20 {
        files.append(id, Stream::Stdout, b"line\n").await;
    }
    files.end(id).await;
    let index = dir(files.root.path(), id).join(layout::LOG).join(layout::segment_name(0, "idx"));
    fs::write(index, [0_u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat()).unwrap();
    let (read, gaps, complete) = read_all(&files.source, id, 3).await;
    assert_eq!((read.len(), gaps, complete), (20, Vec::new(), Some(true)));
}

/// The files that this process has open although no name in `root` leads to them any more.
fn open_and_deleted(root: &Path) -> Vec<PathBuf> {
    let root = root.canonicalize().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let open = open.filter_map(|fd| fs::read_link(fd).ok());
    open.filter(|path| path.starts_with(&root) && path.to_string_lossy().ends_with(" (deleted)")).collect()
}

#[tokio::test]
async fn a_log_that_was_deleted_reads_as_empty_and_is_kept_open_by_nobody() {
    let files = Files::new();
    let [first, second, third] = [(); 3].map(|()| ExecutionId::random());
    for id in [first, second, third] {
        // Of several segments.
        for _ in 0..40 {
            files.append(id, Stream::Stdout, &[b'x'; 1000]).await;
        }
        files.end(id).await;
    }
    for id in [first, second] {
        let (read, _, complete) = read_all(&files.source, id, 10).await;
        assert_eq!((read.len(), complete), (40, Some(true)));
        fs::remove_dir_all(dir(files.root.path(), id)).unwrap();
    }
    assert_ne!(open_and_deleted(files.root.path()), Vec::<PathBuf>::new());
    assert_eq!(read_all(&files.source, first, 10).await, (Vec::new(), Vec::new(), None));
    assert_eq!(open_and_deleted(files.root.path()), Vec::<PathBuf>::new());
    // Another one closes them, too.
    read_all(&files.source, third, 10).await;
    fs::remove_dir_all(dir(files.root.path(), third)).unwrap();
    assert_ne!(open_and_deleted(files.root.path()), Vec::<PathBuf>::new());
    read_all(&files.source, ExecutionId::random(), 10).await;
    assert_eq!(open_and_deleted(files.root.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_segment_that_was_deleted_is_a_gap_also_in_a_log_that_was_read_before() {
    let files = Files::new();
    let id = ExecutionId::random();
    for _ in 0..40 {
        files.append(id, Stream::Stdout, &[b'x'; 1000]).await;
    }
    files.end(id).await;
    let (read, _, complete) = read_all(&files.source, id, 10).await;
    assert_eq!((read.len(), complete), (40, Some(true)));
    let first = layout::segment_name(0, layout::SEGMENT_EXTENSION);
    fs::remove_file(dir(files.root.path(), id).join(layout::LOG).join(first)).unwrap();
    // Whoever comes first finds out.
    let _ = files.source.read(id, None, ReadLimit { events: 10, bytes: 1024 }).await;
    let (read, gaps, complete) = read_all(&files.source, id, 10).await;
    assert_eq!((gaps.len(), complete), (1, Some(false)));
    assert_eq!(read.len() as u64 + gaps[0].1, 40);
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
