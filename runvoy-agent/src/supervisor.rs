//! The inner process: runs the command, stores what it says, and writes the end record.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use runvoy_task::{EndReason, EndRecord, PhaseTiming, TaskSpec};
use rustix::fs::{Mode, OFlags};
use rustix::process::WaitStatus;

use crate::command::{self, Started};
use crate::control::{Cause, Control, Orders};
use crate::error::AgentError;
use crate::mask::Patterns;
use crate::memory::OomKills;
use crate::output::Output;
use crate::signals::Signals;
use crate::sink::{Sink, Totals, Wait};
use crate::{NOT_RUN, clock, end, namespace, process, spec};

/// What the supervisor says once it can be signalled.
pub(crate) const READY: [u8; 1] = *b"R";

const TOO_SHORT: &str = "runvoy: a secret shorter than 4 characters is not masked\n";

/// Supervises one command. Started by the keeper only.
pub(crate) fn run(dir: &Path) -> Result<ExitCode, AgentError> {
    if namespace::is_first() {
        namespace::mount_proc().map_err(AgentError::io("mounting /proc"))?;
    }
    let signals = Signals::install().map_err(AgentError::io("installing signal handlers"))?;
    process::stand_alone().map_err(AgentError::io("detaching from the keeper"))?;
    report_ready().map_err(AgentError::io("reporting to the keeper"))?;
    supervise(dir, read_spec()?, signals, Kept::ByKeeper)
}

/// Who outlives a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A keeper, which answers for it.
    ByKeeper,
    /// Nobody: it is the first process of a container, and everything in that ends with it.
    Alone,
}

/// Supervises one command whose gate was claimed.
pub(crate) fn supervise(
    dir: &Path,
    spec: TaskSpec,
    signals: Signals,
    kept: Kept,
) -> Result<ExitCode, AgentError> {
    let prepared_from = Instant::now();
    let task = Task {
        dir,
        execution_id: spec.execution_id.clone(),
        started_at_ms: clock::now_ms(),
        pid_namespace: namespace::is_first(),
        memory: (kept == Kept::Alone).then(OomKills::so_far).flatten(),
    };
    match prepare(dir, spec, signals, kept) {
        Ok(running) => task.supervise(running, prepared_from),
        Err(error) => {
            let cause = Cause { reason: EndReason::StartFailed, message: Some(error.to_string()) };
            let hash = blake3::Hasher::new().finalize().to_hex().to_string();
            let end = End { status: None, cause: Some(cause), totals: Totals { events: 0, bytes: 0, hash } };
            task.finish(end, 0, Vec::new(), &mut Asleep)
        }
    }
}

/// The report goes out on standard output, which then points nowhere.
fn report_ready() -> io::Result<()> {
    io::stdout().write_all(&READY)?;
    io::stdout().flush()?;
    let nowhere = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(nowhere)?;
    Ok(())
}

/// The keeper's line carries a length and the spec; it stays open for stops, so there is no end to read to.
fn read_spec() -> Result<TaskSpec, AgentError> {
    let mut stdin = fs_stdin().map_err(AgentError::io("reading the keeper's line"))?;
    let mut length = [0_u8; 8];
    let read = stdin.read_exact(&mut length).and_then(|()| {
        let mut bytes = Vec::new();
        stdin.take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    spec::parse(&read.map_err(AgentError::io("reading the keeper's line"))?)
}

/// Without the buffer of [`io::stdin`], which would swallow the bytes after the spec.
fn fs_stdin() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

struct Running {
    started: Started,
    output: Output,
    control: Control,
    since: Instant,
}

fn prepare(
    dir: &Path,
    mut spec: TaskSpec,
    signals: Signals,
    kept: Kept,
) -> Result<Running, AgentError> {
    let stop_signal = spec::stop_signal(&spec)?;
    let secrets = std::mem::take(&mut spec.mask);
    let patterns = Patterns::new(&secrets)?;
    drop(secrets);
    let sink = Sink::create(dir, spec.segment_bytes, spec.log_limit)
        .map_err(AgentError::io("the log could not be created"))?;
    let since = Instant::now();
    let mut started = command::start(&spec).map_err(AgentError::io("the command could not be started"))?;
    let orders = Orders {
        dir: dir.to_owned(),
        command: started.pid,
        deadline: since.checked_add(Duration::from_millis(spec.timeout_ms)),
        grace: Duration::from_millis(spec.grace_ms),
        stop_signal,
        kept: kept == Kept::ByKeeper,
    };
    let mut control = Control::new(orders, signals);
    let mut output = Output::new(sink, &mut started, &patterns)
        .map_err(AgentError::io("the command's output could not be read"))?;
    if patterns.left_out() {
        output.remark(TOO_SHORT, &mut control);
    }
    Ok(Running { started, output, control, since })
}

/// What the end record repeats of a task's beginning.
struct Task<'a> {
    dir: &'a Path,
    execution_id: String,
    started_at_ms: u64,
    pid_namespace: bool,
    /// In a container of its own: kills for want of memory there, before the command.
    memory: Option<OomKills>,
}

struct End {
    status: Option<WaitStatus>,
    cause: Option<Cause>,
    totals: Totals,
}

impl Task<'_> {
    fn supervise(mut self, running: Running, prepared_from: Instant) -> Result<ExitCode, AgentError> {
        let Running { mut started, mut output, mut control, since } = running;
        let prepared = since.duration_since(prepared_from);
        self.started_at_ms += millis(prepared);
        loop {
            control.advance();
            if control.is_gone() {
                break;
            }
            let ready = control.wait(output.fds(), output.due());
            output.pump(ready, &mut control);
        }
        output.drain(&mut control);
        let phases = vec![timing("prepare", prepared), timing("command", since.elapsed())];
        let (sink, replacements, broken) = output.into_parts();
        let totals =
            sink.finish().or_else(|error| if broken.is_some() { Ok(sink.totals()) } else { Err(error) });
        let totals = totals.map_err(AgentError::io("making the log durable"))?;
        let failure = started.failure();
        let status = control.status().filter(|_| failure.is_none());
        let cause = control.into_cause();
        let cause =
            failure.map(|message| Cause { reason: EndReason::StartFailed, message: Some(message) }).or(cause);
        self.finish(End { status, cause, totals }, replacements, phases, &mut Asleep)
    }

    fn finish(
        &self,
        end: End,
        replacements: u64,
        phases: Vec<PhaseTiming>,
        wait: &mut dyn Wait,
    ) -> Result<ExitCode, AgentError> {
        let signal = end.status.and_then(WaitStatus::terminating_signal);
        let exit_code = end.status.and_then(WaitStatus::exit_status).or(signal.map(|signal| 128 + signal));
        let short_of_memory = exit_code != Some(0) && self.memory.as_ref().is_some_and(OomKills::has_grown);
        let reason = if short_of_memory { EndReason::OomKilled } else { EndReason::Exited };
        let cause = end.cause.unwrap_or(Cause { reason, message: None });
        let record = EndRecord {
            version: EndRecord::VERSION,
            execution_id: self.execution_id.clone(),
            exit_code,
            signal,
            reason: cause.reason,
            message: cause.message,
            started_at_ms: self.started_at_ms,
            finished_at_ms: clock::now_ms(),
            events: end.totals.events,
            bytes: end.totals.bytes,
            replacements,
            hash: end.totals.hash,
            pid_namespace: self.pid_namespace,
            phases,
        };
        end::write(self.dir, &record, wait).map_err(AgentError::io("writing the end record"))?;
        let code = exit_code.and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(NOT_RUN)))
    }
}

/// At the end nothing is left to look after.
struct Asleep;

impl Wait for Asleep {
    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn timing(phase: &str, time: Duration) -> PhaseTiming {
    PhaseTiming { phase: phase.to_owned(), ms: millis(time) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
