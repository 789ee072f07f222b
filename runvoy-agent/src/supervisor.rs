//! The inner process: prepares the workspace, runs the command, stores what both say, and writes the end record.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runvoy_task::{EndReason, EndRecord, PhaseTiming, TaskSpec, layout};
use rustix::fs::{Mode, OFlags};
use rustix::process::WaitStatus;

use crate::control::{Cause, Kept, Orders};
use crate::error::AgentError;
use crate::mask::Patterns;
use crate::memory::OomKills;
use crate::signals::Signals;
use crate::sink::{Asleep, Sink, Totals};
use crate::stage::{self, Ended, Log};
use crate::user::Accounts;
use crate::{clock, command, end, namespace, process, spec, workspace};

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
    let spec = read_spec()?;
    Task::new(dir, &spec, Kept::ByKeeper).carry_out(spec, signals)
}

/// Supervises the command of a container, whose first process this is, and whose accounts are those given.
pub(crate) fn contained(
    dir: &Path,
    mut spec: TaskSpec,
    accounts: &Accounts,
    signals: Signals,
) -> Result<ExitCode, AgentError> {
    let task = Task::new(dir, &spec, Kept::Alone);
    match accounts.settle(&mut spec) {
        Ok(()) => task.carry_out(spec, signals),
        Err(message) => task.never_began(&message, None),
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
fn fs_stdin() -> io::Result<fs::File> {
    use std::os::fd::AsFd as _;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Where the log goes and what is masked in it. The secrets themselves are forgotten.
fn open_log(dir: &Path, spec: &mut TaskSpec) -> Result<Log, AgentError> {
    let mut secrets = std::mem::take(&mut spec.mask);
    secrets.extend(spec.workspace.iter().flat_map(workspace::secrets));
    let patterns = Patterns::new(&secrets)?;
    let sink = Sink::create(dir, spec.segment_bytes, spec.log_limit)
        .map_err(AgentError::io("the log could not be created"))?;
    let remark = patterns.left_out().then_some(TOO_SHORT);
    Ok(Log { sink, patterns, replacements: 0, broken: None, remark })
}

/// What the end record says of a task, as far as it has come.
struct Task<'a> {
    dir: &'a Path,
    execution_id: String,
    begun: Instant,
    started_at_ms: u64,
    pid_namespace: bool,
    kept: Kept,
    /// In a container of its own: kills for want of memory there, before the command.
    memory: Option<OomKills>,
    commit: Option<String>,
    phases: Vec<PhaseTiming>,
}

/// How a task ended, for its record.
struct End {
    status: Option<WaitStatus>,
    cause: Option<Cause>,
    totals: Totals,
    replacements: u64,
}

impl<'a> Task<'a> {
    fn new(dir: &'a Path, spec: &TaskSpec, kept: Kept) -> Self {
        Self {
            dir,
            execution_id: spec.execution_id.clone(),
            begun: Instant::now(),
            started_at_ms: clock::now_ms(),
            pid_namespace: namespace::is_first(),
            kept,
            memory: (kept == Kept::Alone).then(OomKills::so_far).flatten(),
            commit: None,
            phases: Vec::new(),
        }
    }

    /// The stages, one after the other.
    fn carry_out(mut self, mut spec: TaskSpec, mut signals: Signals) -> Result<ExitCode, AgentError> {
        let (stop_signal, mut log) =
            match spec::stop_signal(&spec).and_then(|signal| Ok((signal, open_log(self.dir, &mut spec)?))) {
                Ok(opened) => opened,
                Err(error) => return self.never_began(&error.to_string(), None),
            };
        self.phase("prepare", self.begun);
        if let Some(workspace) = spec.workspace.take() {
            let since = Instant::now();
            // For those who ask what takes so long: without it they are told less.
            let sign = self.dir.join(layout::PREPARING);
            let _ = fs::write(&sign, "");
            let prepared = workspace::prepare(workspace, &spec, (self.dir, self.kept), log, signals);
            let _ = fs::remove_file(&sign);
            self.phase("workspace", since);
            (log, signals) = (prepared.log, prepared.signals);
            match prepared.outcome {
                Ok(ready) => (spec.workdir, self.commit) = (ready.workdir, ready.commit),
                Err(cause) => return self.finish(End::of(None, Some(cause), &log)?),
            }
        }
        self.command(&spec, stop_signal, log, signals)
    }

    fn command(
        mut self,
        spec: &TaskSpec,
        stop_signal: Signal,
        log: Log,
        signals: Signals,
    ) -> Result<ExitCode, AgentError> {
        let since = Instant::now();
        let started = serde_json::to_vec(spec)
            .map_err(io::Error::from)
            .and_then(|order| command::start("exec", &order));
        let (started, outputs) = match started {
            Ok(started) => started,
            Err(error) => {
                return self.never_began(&format!("the command could not be started: {error}"), Some(&log));
            }
        };
        self.started_at_ms += millis(since.duration_since(self.begun));
        let orders = Orders {
            dir: self.dir.to_owned(),
            command: started.pid,
            deadline: since.checked_add(Duration::from_millis(spec.timeout_ms)),
            grace: Duration::from_millis(spec.grace_ms),
            stop_signal,
            kept: self.kept,
        };
        let Ended { status, cause, report, log, .. } =
            stage::supervise(started, outputs, orders, log, signals);
        self.phase("command", since);
        let failure = report.map(|message| Cause { reason: EndReason::StartFailed, message: Some(message) });
        let status = status.filter(|_| failure.is_none());
        self.finish(End::of(status, failure.or(cause), &log)?)
    }

    fn never_began(self, why: &str, log: Option<&Log>) -> Result<ExitCode, AgentError> {
        let cause = Some(Cause { reason: EndReason::StartFailed, message: Some(why.to_owned()) });
        let end = if let Some(log) = log {
            End::of(None, cause, log)?
        } else {
            let hash = blake3::Hasher::new().finalize().to_hex().to_string();
            End { status: None, cause, totals: Totals { events: 0, bytes: 0, hash }, replacements: 0 }
        };
        self.finish(end)
    }

    fn phase(&mut self, phase: &str, since: Instant) {
        self.phases.push(PhaseTiming { phase: phase.to_owned(), ms: millis(since.elapsed()) });
    }

    fn finish(self, end: End) -> Result<ExitCode, AgentError> {
        let signal = end.status.and_then(WaitStatus::terminating_signal);
        let exit_code = end.status.and_then(WaitStatus::exit_status).or(signal.map(|signal| 128 + signal));
        let short_of_memory = exit_code != Some(0) && self.memory.is_some_and(OomKills::has_grown);
        let reason = if short_of_memory { EndReason::OomKilled } else { EndReason::Exited };
        let cause = end.cause.unwrap_or(Cause { reason, message: None });
        let record = EndRecord {
            version: EndRecord::VERSION,
            execution_id: self.execution_id,
            exit_code,
            signal,
            reason: cause.reason,
            message: cause.message,
            started_at_ms: self.started_at_ms,
            finished_at_ms: clock::now_ms(),
            events: end.totals.events,
            bytes: end.totals.bytes,
            replacements: end.replacements,
            hash: end.totals.hash,
            commit: self.commit,
            pid_namespace: self.pid_namespace,
            phases: self.phases,
        };
        end::write(self.dir, &record, &mut Asleep).map_err(AgentError::io("writing the end record"))?;
        Ok(ExitCode::from(record.agent_code()))
    }
}

impl End {
    fn of(status: Option<WaitStatus>, cause: Option<Cause>, log: &Log) -> Result<Self, AgentError> {
        Ok(Self { status, cause, totals: log.finish()?, replacements: log.replacements })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
