//! The outer process: takes the start gate, starts the supervisor, and answers for it if it dies.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use runvoy_task::{EndReason, EndRecord, Isolation, TaskSpec};
use rustix::io::Errno;

use crate::error::AgentError;
use crate::signals::Signals;
use crate::sink::Asleep;
use crate::supervisor::READY;
use crate::tree::{self, Reaped};
use crate::{NOT_RUN, claim, clock, end, namespace, process, recover, say, spec, wait};

/// Runs a whole task: reads its spec from standard input, supervises its command, answers as the command did.
pub(crate) fn run(dir: &Path) -> Result<ExitCode, AgentError> {
    process::close_inherited().map_err(AgentError::io("closing inherited files"))?;
    let signals = Signals::install().map_err(AgentError::io("installing signal handlers"))?;
    let dir = existing(dir)?;
    let bytes = read_spec(rustix::stdio::stdin(), &signals)?;
    let spec = spec::parse(&bytes)?;
    process::stand_alone().map_err(AgentError::io("detaching from the parent"))?;
    let Some(claimed_at_ms) = claim::claim(&dir)? else { return Ok(ExitCode::SUCCESS) };
    let TaskSpec { execution_id, isolation, .. } = spec;
    let mut keeper = Keeper { dir, execution_id, claimed_at_ms, signals, fenced: false };
    match keeper.start(isolation, &bytes) {
        Ok(supervisor) => {
            drop(bytes);
            keeper.keep(supervisor)
        }
        Err(error) => {
            let message = format!("the supervisor could not be started: {error}");
            keeper.answer(EndReason::StartFailed, message)
        }
    }
}

pub(crate) fn existing(dir: &Path) -> Result<PathBuf, AgentError> {
    let found = fs::canonicalize(dir)
        .and_then(|path| if path.is_dir() { Ok(path) } else { Err(io::ErrorKind::NotADirectory.into()) });
    found.map_err(|source| AgentError::NoDirectory { path: dir.to_owned(), source })
}

/// Reads the spec to its end, unless a stop comes first.
pub(crate) fn read_spec(from: BorrowedFd<'_>, signals: &Signals) -> Result<Vec<u8>, AgentError> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0_u8; 16 * 1024];
    loop {
        let [ready, _] = wait::readable([Some(from), Some(signals.stop())], None);
        if signals.take_stop() {
            return Err(AgentError::StoppedEarly);
        }
        if !ready {
            continue;
        }
        match rustix::io::read(from, &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(AgentError::io("reading the task spec")(error)),
        }
    }
}

/// A supervisor that reads and that reported ready.
struct Supervisor {
    pid: i32,
    /// Carries the spec, then a byte per stop. Its end tells the supervisor that the keeper is dead.
    line: PipeWriter,
}

struct Keeper {
    dir: PathBuf,
    execution_id: String,
    claimed_at_ms: u64,
    signals: Signals,
    fenced: bool,
}

impl Keeper {
    fn start(&mut self, isolation: Isolation, spec: &[u8]) -> io::Result<Supervisor> {
        self.fenced = isolation == Isolation::Auto && namespace::enter();
        let supervisor = match self.spawn() {
            Err(_) if self.fenced => {
                // Granted, yet unusable: no mount allowed, say.
                namespace::leave()?;
                self.fenced = false;
                self.spawn()
            }
            other => other,
        };
        let mut supervisor = supervisor?;
        supervisor.line.write_all(&(spec.len() as u64).to_le_bytes())?;
        supervisor.line.write_all(spec)?;
        Ok(supervisor)
    }

    fn spawn(&self) -> io::Result<Supervisor> {
        let (line_end, line) = io::pipe()?;
        let (mut ready, ready_end): (PipeReader, PipeWriter) = io::pipe()?;
        let child = process::stage("init")
            .arg(&self.dir)
            .stdin(Stdio::from(line_end))
            .stdout(Stdio::from(ready_end))
            .spawn()?;
        let mut byte = [0];
        ready.read_exact(&mut byte)?;
        if byte != READY {
            return Err(io::Error::other("no answer from the supervisor"));
        }
        Ok(Supervisor { pid: i32::try_from(child.id()).map_err(io::Error::other)?, line })
    }

    /// Waits for the supervisor's end, handing on stops.
    fn keep(self, mut supervisor: Supervisor) -> Result<ExitCode, AgentError> {
        while !has_ended(supervisor.pid) {
            wait::readable([Some(self.signals.children()), Some(self.signals.stop())], None);
            self.signals.take_children();
            if self.signals.take_stop() {
                let _ = supervisor.line.write_all(b"T");
            }
        }
        match end::read(&self.dir) {
            Some(record) => Ok(exit_code(&record)),
            None => {
                self.answer(EndReason::Lost, "the supervisor died; what it supervised was killed".to_owned())
            }
        }
    }

    /// Kills what is left and writes the end record in the supervisor's place.
    fn answer(&self, reason: EndReason, message: String) -> Result<ExitCode, AgentError> {
        let mut pause = Duration::from_millis(1);
        loop {
            tree::kill_all();
            if reap_all() {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        let totals = recover::totals(&self.dir).map_err(AgentError::io("reading the log back"))?;
        let record = EndRecord {
            version: EndRecord::VERSION,
            execution_id: self.execution_id.clone(),
            exit_code: None,
            signal: None,
            reason,
            message: Some(message),
            started_at_ms: self.claimed_at_ms,
            finished_at_ms: clock::now_ms(),
            events: totals.events,
            bytes: totals.bytes,
            replacements: 0,
            hash: totals.hash,
            commit: None,
            pid_namespace: self.fenced,
            phases: Vec::new(),
        };
        end::write(&self.dir, &record, &mut Asleep).map_err(AgentError::io("writing the end record"))?;
        Ok(ExitCode::from(NOT_RUN))
    }
}

/// Reaps whatever has ended. Whether the supervisor has.
fn has_ended(supervisor: i32) -> bool {
    loop {
        match tree::reap() {
            Reaped::Child(pid, _) if pid == supervisor => return true,
            Reaped::Child(..) => {}
            Reaped::Running => return false,
            Reaped::Empty => return true,
        }
    }
}

/// Reaps whatever has ended. Whether nothing is left.
fn reap_all() -> bool {
    loop {
        match tree::reap() {
            Reaped::Child(..) => {}
            Reaped::Running => return false,
            Reaped::Empty => return true,
        }
    }
}

fn exit_code(record: &EndRecord) -> ExitCode {
    if let Some(Ok(code)) = record.exit_code.map(u8::try_from) {
        return ExitCode::from(code);
    }
    if let Some(message) = &record.message {
        say(&io::Error::other(message.clone()));
    }
    ExitCode::from(NOT_RUN)
}
