//! All descendants of this process: signalling, reaping and killing them.
//!
//! The process is a sub-reaper, or the first of a PID namespace: whatever the tree does, every living descendant
//! hangs below one of our own children. So "no child left" means "nothing left".

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::{namespace, process};

/// What one look at the children shows.
pub(crate) enum Reaped {
    /// This one ended.
    Child(i32, WaitStatus),
    /// There are children, none of which has ended.
    Running,
    /// There is no child, hence no descendant.
    Empty,
}

/// Reaps one child, without waiting.
pub(crate) fn reap() -> Reaped {
    match wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Reaped::Child(pid.as_raw_pid(), status),
        Err(Errno::CHILD) => Reaped::Empty,
        Ok(None) | Err(_) => Reaped::Running,
    }
}

/// Sends a signal to every descendant.
pub(crate) fn signal(signal: Signal) {
    if namespace::is_first() {
        let _ = kill(Pid::from_raw(-1), signal);
    } else {
        each(&process::descendants(), signal);
    }
}

/// Kills every descendant that can be found. To be repeated until [`reap`] says [`Reaped::Empty`].
///
/// In a PID namespace the kernel does it in one step. Elsewhere the tree is halted first, so that the second walk
/// finds the children which were born during the first.
pub(crate) fn kill_all() {
    if namespace::is_first() {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        return;
    }
    each(&process::descendants(), Signal::SIGSTOP);
    each(&process::descendants(), Signal::SIGKILL);
}

fn each(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill(*pid, signal);
    }
}
