//! Giving up the agent's rights for those that a spec names.

use std::io;
use std::os::fd::AsFd as _;

use nix::unistd::{Gid, Uid, fchown, setfsgid, setfsuid, setgid, setgroups, setuid};
use runvoy_task::RunAs;

/// Makes the kernel's out-of-memory killer prefer this process to the agent.
const OOM_SCORE_ADJ: &str = "500";

/// Steps in front of the agent for when memory runs out.
///
/// Best effort: without the right to write it, the score stays the agent's own.
pub(crate) fn expose_to_oom_killer() {
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
}

/// Becomes somebody else, for good; takes the outputs along.
pub(crate) fn take(who: &RunAs) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    // Without it the command could not open /dev/stdout and /dev/stderr.
    for output in [io::stdout().as_fd(), io::stderr().as_fd()] {
        let _ = fchown(output, Some(uid), Some(gid));
    }
    let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
    if Uid::effective().is_root() {
        setgroups(&groups)?;
    }
    setgid(gid)?;
    setuid(uid)
}

/// Uses this process's own rights on files for a moment, where it writes as somebody else.
pub(crate) fn with_own_rights<T>(work: impl FnOnce() -> T) -> T {
    let (uid, gid) = (setfsuid(Uid::effective()), setfsgid(Gid::effective()));
    let done = work();
    setfsgid(gid);
    setfsuid(uid);
    done
}
