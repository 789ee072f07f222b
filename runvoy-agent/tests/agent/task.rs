//! One run of the agent, and what it leaves in its directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use runvoy_task::block::{self, HEADER_LEN, Header, Stream, Tail};
use runvoy_task::{CommandLine, EndRecord, Gate, Isolation, RunAs, StopRequest, TaskSpec, layout};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of an execution, and the spec for it.
pub(crate) struct Task {
    root: tempfile::TempDir,
    pub(crate) dir: PathBuf,
    pub(crate) spec: TaskSpec,
}

/// A started agent. Killed, with all that it keeps, when a test fails.
pub(crate) struct Agent {
    child: Child,
    dir: PathBuf,
    mark: String,
}

impl Task {
    pub(crate) fn new(command: CommandLine) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("execution");
        let work = root.path().join("work");
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&work).unwrap();
        let mark = root.path().to_str().unwrap().to_owned();
        let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("RUNVOY_TEST_MARK", &mark)];
        let spec = TaskSpec {
            version: TaskSpec::VERSION,
            execution_id: "0123456789abcdef0123456789abcdef".to_owned(),
            command,
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            dotenv: BTreeSet::new(),
            workdir: work,
            workspace: None,
            workspace_timeout_ms: 60_000,
            run_as: None,
            user: None,
            timeout_ms: 60_000,
            grace_ms: 10_000,
            stop_signal: "TERM".to_owned(),
            mask: Vec::new(),
            log_limit: 1 << 30,
            segment_bytes: 1 << 26,
            max_processes: None,
            isolation: Isolation::Auto,
        };
        Self { root, dir, spec }
    }

    pub(crate) fn shell(text: &str) -> Self {
        Self::new(CommandLine::Shell(text.to_owned()))
    }

    pub(crate) fn args(args: &[&str]) -> Self {
        Self::new(CommandLine::Args(args.iter().copied().map(str::to_owned).collect()))
    }

    /// Changes the spec.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Runs the command as a user whom limits bind. For root only.
    pub(crate) fn unprivileged(self) -> Self {
        for dir in [self.root.path(), &self.spec.workdir] {
            fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        }
        self.with(|spec| spec.run_as = Some(RunAs { uid: 65534, gid: 65534, groups: Vec::new() }))
    }

    /// What holds everything of the task.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.spec.workdir.join(name)
    }

    pub(crate) fn start(&self) -> Agent {
        self.start_with(&serde_json::to_vec(&self.spec).unwrap())
    }

    /// Starts an agent on this directory with whatever bytes as its spec.
    pub(crate) fn start_with(&self, spec: &[u8]) -> Agent {
        let mut child = Command::new(env!("CARGO_BIN_EXE_runvoy-agent"))
            .arg("supervise")
            .arg(&self.dir)
            .env("OF_THE_AGENT", "must not reach the command")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // An agent that refuses early does not read all of it.
        let _ = child.stdin.take().unwrap().write_all(spec);
        Agent { child, dir: self.dir.clone(), mark: self.mark() }
    }

    /// Runs to the end. Nothing is left then.
    pub(crate) fn run(&self) -> (EndRecord, Log) {
        let mut agent = self.start();
        let end = agent.end();
        assert_eq!(self.leftovers(), Vec::<i32>::new());
        (end, self.log())
    }

    pub(crate) fn log(&self) -> Log {
        Log::read(&self.dir)
    }

    pub(crate) fn gate(&self) -> Option<Gate> {
        Some(Gate::from_json(&fs::read(self.dir.join(layout::GATE)).ok()?).unwrap())
    }

    /// Processes of this task's command.
    pub(crate) fn leftovers(&self) -> Vec<i32> {
        marked(&self.mark())
    }

    fn mark(&self) -> String {
        self.root.path().to_str().unwrap().to_owned()
    }
}

/// Living processes with a mark in their environment.
fn marked(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if memchr::memmem::find(&environ, mark.as_bytes()).is_some() {
            found.push(pid);
        }
    }
    found
}

impl Agent {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// What an executor does to stop a task.
    pub(crate) fn stop(&self, grace: Option<Duration>) {
        request_stop(&self.dir, grace);
        self.signal(Signal::SIGTERM);
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        eventually("the agent to exit", || self.child.try_wait().unwrap())
    }

    /// Waits for the end record, and for the agent to exit as its command did.
    pub(crate) fn end(&mut self) -> EndRecord {
        let status = self.exit();
        let end =
            EndRecord::from_json(&fs::read(self.dir.join(layout::END)).expect("an end record")).unwrap();
        assert_eq!(status.code(), Some(end.exit_code.unwrap_or(125)), "{end:?}");
        end
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            for pid in marked(&self.mark) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Puts a request to stop in place.
pub(crate) fn request_stop(dir: &Path, grace: Option<Duration>) {
    let request = StopRequest::new(grace.map(|grace| grace.as_millis().try_into().unwrap()));
    let temporary = dir.join("stop.tmp");
    fs::write(&temporary, serde_json::to_vec(&request).unwrap()).unwrap();
    fs::rename(temporary, dir.join(layout::STOP)).unwrap();
}

/// Repeats a look until it shows something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The blocks of a log, checked one against the other.
pub(crate) struct Log {
    pub(crate) blocks: Vec<(Header, Vec<u8>)>,
    pub(crate) segments: usize,
    /// Bytes after the last complete block.
    pub(crate) torn: usize,
}

impl Log {
    pub(crate) fn read(dir: &Path) -> Self {
        let mut log = Self { blocks: Vec::new(), segments: 0, torn: 0 };
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(dir.join(layout::LOG)).into_iter().flatten().flatten() {
            if let Some(first) = layout::segment_first(entry.file_name().to_str().unwrap()) {
                segments.insert(first, entry.path());
            }
        }
        for (first, path) in segments {
            assert_eq!(first, log.next(), "a segment is named by its first event");
            log.read_segment(&path);
        }
        log
    }

    /// Like [`Self::read`], while the agent writes: the index may lag behind.
    pub(crate) fn read_running(dir: &Path) -> Self {
        let mut log = Self { blocks: Vec::new(), segments: 0, torn: 0 };
        let path = dir.join(layout::LOG).join(layout::segment_name(0, layout::SEGMENT_EXTENSION));
        let bytes = fs::read(path).unwrap_or_default();
        let mut rest = bytes.as_slice();
        while let Ok((header, payload)) = block::decode(rest) {
            rest = &rest[HEADER_LEN + payload.len()..];
            log.blocks.push((header, payload.to_vec()));
        }
        log
    }

    /// Bytes of the first segment.
    pub(crate) fn size(dir: &Path) -> u64 {
        let path = dir.join(layout::LOG).join(layout::segment_name(0, layout::SEGMENT_EXTENSION));
        fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    fn read_segment(&mut self, path: &Path) {
        let index = fs::read(path.with_extension(layout::INDEX_EXTENSION)).unwrap();
        let bytes = fs::read(path).unwrap();
        let index: Vec<(u64, u64)> = index
            .chunks_exact(block::INDEX_ENTRY_LEN)
            .map(|entry| (u64_of(&entry[..8]), u64_of(&entry[8..])))
            .collect();
        let (mut at, mut starts) = (0, Vec::new());
        while let Ok((header, payload)) = block::decode(&bytes[at..]) {
            assert_eq!(header.first, self.next(), "events are numbered without a gap");
            let newlines = memchr::memchr_iter(b'\n', payload).count();
            let open = usize::from(!payload.ends_with(b"\n"));
            assert_eq!(header.events as usize, newlines + open);
            assert_eq!(header.tail == Tail::Newline, open == 0);
            starts.push((header.first, at as u64));
            at += HEADER_LEN + payload.len();
            self.blocks.push((header, payload.to_vec()));
        }
        assert_eq!(index.first(), starts.first(), "the first entry is the first block's");
        assert!(index.iter().all(|entry| starts.contains(entry)), "every entry is a block's");
        assert!(index.len() as u64 >= at as u64 / (block::INDEX_EVERY * 3), "entries are not far apart");
        self.torn += bytes.len() - at;
        self.segments += 1;
    }

    fn next(&self) -> u64 {
        self.blocks.last().map_or(0, |(header, _)| header.next())
    }

    pub(crate) fn bytes(&self, stream: Stream) -> Vec<u8> {
        let of_stream = self.blocks.iter().filter(|(header, _)| header.stream == stream);
        of_stream.flat_map(|(_, payload)| payload.iter().copied()).collect()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.bytes(Stream::Stdout)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.bytes(Stream::Stderr)).unwrap()
    }

    /// Whether the end record says what the log holds.
    pub(crate) fn assert_agrees(&self, end: &EndRecord) {
        let mut hash = blake3::Hasher::new();
        for (_, payload) in &self.blocks {
            hash.update(payload);
        }
        let bytes: usize = self.blocks.iter().map(|(_, payload)| payload.len()).sum();
        assert_eq!(end.events, self.next());
        assert_eq!(end.bytes, bytes as u64);
        assert_eq!(end.hash, hash.finalize().to_hex().to_string());
    }
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Whether this machine lets a test have what it needs. In CI the answer must be yes.
pub(crate) fn allowed(what: &str, have: bool) -> bool {
    if !have {
        assert!(std::env::var("RUNVOY_TEST_REQUIRE").as_deref() != Ok("all"), "{what} is required");
        eprintln!("skipped: needs {what}");
    }
    have
}

pub(crate) fn root() -> bool {
    allowed("root", Uid::effective().is_root())
}

/// Whether a PID namespace can be had, as util-linux sees it.
pub(crate) fn namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "true"]).stderr(Stdio::null());
    allowed("PID namespaces", unshare.status().is_ok_and(|status| status.success()))
}
