//! When the task ends, and how: the deadline, stops, the grace, and the killing of the tree.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use runvoy_task::{EndReason, StopRequest, layout};
use rustix::process::WaitStatus;

use crate::signals::Signals;
use crate::sink::Wait;
use crate::tree::{self, Reaped};
use crate::wait;

/// What the command leaves behind gets this long between `SIGTERM` and `SIGKILL`.
const ROUND_UP: Duration = Duration::from_secs(1);
/// How long to reap before the clock is looked at again.
const REAPING: Duration = Duration::from_millis(5);
/// Longest time between two rounds of killing.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a command's supervision is told at its start.
pub(crate) struct Orders {
    /// The execution's directory.
    pub(crate) dir: PathBuf,
    /// The command's process, and its process group.
    pub(crate) command: Pid,
    /// When it is stopped; `None` if that is out of the clock's range.
    pub(crate) deadline: Option<Instant>,
    /// Between the stop signal and `SIGKILL`.
    pub(crate) grace: Duration,
    /// How the command is asked to end.
    pub(crate) stop_signal: Signal,
    /// Who outlives this process.
    pub(crate) kept: Kept,
}

/// Who outlives a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A keeper: it hands on stops by standard input, and its death ends the task.
    ByKeeper,
    /// Nobody: the supervisor is the first process of a container, and everything in that ends with it.
    Alone,
}

/// Why the task ends, if not by itself.
pub(crate) struct Cause {
    /// For the end record.
    pub(crate) reason: EndReason,
    /// For people.
    pub(crate) message: Option<String>,
}

enum Phase {
    Running,
    /// Somebody has been asked to end; `rounded_up` once that was everybody.
    Ending {
        kill_at: Instant,
        rounded_up: bool,
    },
    Killing {
        again_at: Instant,
        pause: Duration,
    },
    Gone,
}

/// The life of one command and its tree.
pub(crate) struct Control {
    orders: Orders,
    signals: Signals,
    /// Whether the keeper lives; its line is standard input.
    kept: bool,
    phase: Phase,
    cause: Option<Cause>,
    status: Option<WaitStatus>,
    /// Whether reaping was interrupted, so that there is more to reap at once.
    more: bool,
}

impl Control {
    /// Takes charge of a command that was just started.
    pub(crate) fn new(orders: Orders, signals: Signals) -> Self {
        let kept = orders.kept == Kept::ByKeeper;
        Self { orders, signals, kept, phase: Phase::Running, cause: None, status: None, more: false }
    }

    /// Whether nothing of the task is left.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// How the command ended; it has, once everything is gone.
    pub(crate) fn status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Why the task was ended (`None`: by itself), and the signals for whom comes next.
    pub(crate) fn into_parts(self) -> (Option<Cause>, Signals) {
        (self.cause, self.signals)
    }

    /// Reaps, and does what is due.
    pub(crate) fn advance(&mut self) {
        self.reap();
        let now = Instant::now();
        match self.phase {
            Phase::Running if self.status.is_some() => self.round_up(now, now + ROUND_UP),
            Phase::Running if self.orders.deadline.is_some_and(|deadline| now >= deadline) => {
                self.stop(EndReason::TimedOut, self.orders.grace, now);
            }
            Phase::Ending { kill_at, rounded_up: false } if self.status.is_some() && now < kill_at => {
                self.round_up(now, kill_at);
            }
            Phase::Ending { kill_at, .. } if now >= kill_at => self.kill(now, Duration::from_millis(1)),
            Phase::Killing { again_at, pause } if now >= again_at => {
                self.kill(now, (pause * 2).min(LONGEST_PAUSE));
            }
            _ => {}
        }
    }

    /// When [`Self::advance`] has something to do, if no signal comes first.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            _ if self.more => Some(Instant::now()),
            Phase::Running => self.orders.deadline,
            Phase::Ending { kill_at, .. } => Some(kill_at),
            Phase::Killing { again_at, .. } => Some(again_at),
            Phase::Gone => None,
        }
    }

    /// Waits for signals, the keeper, the clock and the outputs given. Which of the latter are readable.
    pub(crate) fn wait(&mut self, outputs: [Option<BorrowedFd<'_>>; 2], until: Option<Instant>) -> [bool; 2] {
        let line = self.kept.then(rustix::stdio::stdin);
        let [stdout, stderr] = outputs;
        let until = [self.wake_at(), until].into_iter().flatten().min();
        let fds = [Some(self.signals.children()), Some(self.signals.stop()), line, stdout, stderr];
        let [children, stop, line, stdout, stderr] = wait::readable(fds, until);
        if children {
            self.signals.take_children();
        }
        if (stop && self.signals.take_stop()) | (line && self.read_line()) {
            self.stop_requested();
        }
        [stdout, stderr]
    }

    /// Ends the task without grace.
    pub(crate) fn end_now(&mut self, reason: EndReason, message: Option<String>) {
        if matches!(self.phase, Phase::Killing { .. } | Phase::Gone) {
            return;
        }
        self.cause.get_or_insert(Cause { reason, message });
        self.kill(Instant::now(), Duration::from_millis(1));
    }

    /// Whether the keeper hands on a stop. Its death ends the task.
    fn read_line(&mut self) -> bool {
        let mut bytes = [0_u8; 16];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) | Err(rustix::io::Errno::IO) => {
                self.kept = false;
                self.end_now(EndReason::Lost, Some("the keeper died; what it kept was killed".to_owned()));
                false
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// The first request stops the command; a later one can only shorten the grace.
    fn stop_requested(&mut self) {
        let request = fs::read(self.orders.dir.join(layout::STOP)).ok();
        let reason = if request.is_some() { EndReason::Stopped } else { EndReason::StoppedOutside };
        let grace = request.and_then(|bytes| StopRequest::from_json(&bytes).ok()?.grace_ms);
        let grace = grace.map_or(self.orders.grace, Duration::from_millis);
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running if self.status.is_none() => self.stop(reason, grace, now),
            Phase::Ending { kill_at, .. } => *kill_at = later(now, grace).min(*kill_at),
            _ => {}
        }
    }

    fn stop(&mut self, reason: EndReason, grace: Duration, now: Instant) {
        self.cause = Some(Cause { reason, message: None });
        self.phase = Phase::Ending { kill_at: later(now, grace), rounded_up: false };
        let group = self.orders.command;
        if killpg(group, self.orders.stop_signal).is_err() {
            // Not a group leader yet, or any more.
            let _ = kill(group, self.orders.stop_signal);
        }
        // A halted command could not react.
        let _ = killpg(group, Signal::SIGCONT);
    }

    /// Asks what the command left behind to end.
    fn round_up(&mut self, now: Instant, at_latest: Instant) {
        tree::signal(Signal::SIGTERM);
        let kill_at = later(now, ROUND_UP.min(self.orders.grace)).min(at_latest);
        self.phase = Phase::Ending { kill_at, rounded_up: true };
    }

    fn kill(&mut self, now: Instant, pause: Duration) {
        tree::kill_all();
        self.phase = Phase::Killing { again_at: now + pause, pause };
    }

    /// Reaps for a bounded time, so that a storm of forks does not keep the clock waiting.
    fn reap(&mut self) {
        let until = Instant::now() + REAPING;
        self.more = false;
        loop {
            match tree::reap() {
                Reaped::Child(pid, status)
                    if pid == self.orders.command.as_raw() && self.status.is_none() =>
                {
                    self.status = Some(status);
                }
                Reaped::Child(..) => {}
                Reaped::Running => return,
                Reaped::Empty => {
                    self.phase = Phase::Gone;
                    return;
                }
            }
            if Instant::now() >= until {
                self.more = true;
                return;
            }
        }
    }
}

impl Wait for Control {
    fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.advance();
            self.wait([None, None], Some(until));
        }
    }

    fn is_ending(&self) -> bool {
        !matches!(self.phase, Phase::Running)
    }
}

/// A time out of the clock's range is as good as a day.
fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + Duration::from_hours(24))
}
