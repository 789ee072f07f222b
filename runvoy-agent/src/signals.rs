//! Signals as bytes in pipes, so that one poll waits for everything.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

/// The read ends of the pipes that the handlers write to.
pub(crate) struct Signals {
    children: OwnedFd,
    stop: OwnedFd,
}

impl Signals {
    /// Installs handlers for everything that could end or halt the agent.
    ///
    /// A handler, unlike "ignore", does not outlive exec: whatever dispositions the agent inherited, the command
    /// starts with the defaults.
    pub(crate) fn install() -> io::Result<Self> {
        let (children, children_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (stop, stop_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        signal_hook::low_level::pipe::register(SIGCHLD, children_end)?;
        for signal in [SIGTERM, SIGINT, SIGQUIT] {
            signal_hook::low_level::pipe::register(signal, stop_end.try_clone()?)?;
        }
        let nobody = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU] {
            signal_hook::flag::register(signal, Arc::clone(&nobody))?;
        }
        Ok(Self { children, stop })
    }

    /// Readable once a child changed state.
    pub(crate) fn children(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }

    /// Readable once somebody asked the agent to stop.
    pub(crate) fn stop(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// Forgets the news about children; the caller looks at all of them anyway.
    pub(crate) fn take_children(&self) {
        drain(self.children.as_fd());
    }

    /// Whether somebody asked the agent to stop since the last call.
    pub(crate) fn take_stop(&self) -> bool {
        drain(self.stop.as_fd())
    }
}

fn drain(fd: BorrowedFd<'_>) -> bool {
    let mut any = false;
    let mut bytes = [0_u8; 64];
    while matches!(rustix::io::read(fd, &mut bytes), Ok(n) if n > 0) {
        any = true;
    }
    any
}
