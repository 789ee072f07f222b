//! A PID namespace around the supervisor, where the kernel grants one.

use std::fs::File;
use std::io;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

/// Makes the next child the first process of a new PID namespace. Whether that was granted.
pub(crate) fn enter() -> bool {
    unshare(CloneFlags::CLONE_NEWPID).is_ok()
}

/// Takes [`enter`] back: later children are in this process's own namespace again.
pub(crate) fn leave() -> io::Result<()> {
    setns(File::open("/proc/self/ns/pid")?, CloneFlags::CLONE_NEWPID)?;
    Ok(())
}

/// Whether this process is the first of a PID namespace, so that `kill(-1)` reaches all of its tree and no more.
pub(crate) fn is_first() -> bool {
    Pid::this().as_raw() == 1
}

/// Shows the namespace its own `/proc`, in a mount namespace of its own.
///
/// The host's later mounts still appear in it; none of its own leaves it.
pub(crate) fn mount_proc() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)?;
    Ok(())
}
