//! What `/proc` tells, and how the agent presents itself there.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::{fs, io};

use nix::unistd::Pid;

/// The fields of `proc_pid_stat(5)` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Parent.
    pub(crate) parent: i32,
    /// Clock ticks since boot.
    pub(crate) start_time: u64,
}

/// Reads a process's stat; `None` once it is gone.
pub(crate) fn stat(pid: &str) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may hold any bytes, so that fields are counted from the last one.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let rest = bytes.get(memchr::memrchr(b')', bytes)? + 1..)?;
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat { parent, start_time })
}

/// All descendants of this process, as far as one walk sees them.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((name, pid)) = name.to_str().and_then(|name| Some((name, name.parse().ok()?))) else {
            continue;
        };
        if let Some(stat) = stat(name) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut ancestors = vec![Pid::this().as_raw()];
    while let Some(pid) = ancestors.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(Pid::from_raw(child));
            ancestors.push(child);
        }
    }
    found
}

/// Closes every descriptor but the standard three: what the parent left open is neither ours nor the command's.
///
/// Only for the start of the program, while no descriptor of its own exists.
pub(crate) fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory's own descriptor is in the list, and closed by now.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Takes the agent out of its parent's session and out of reach of debuggers, and adopts orphans.
pub(crate) fn stand_alone() -> io::Result<()> {
    // Refused to the leader of a process group: then it is out of its parent's group already.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    // The spec in memory holds secrets.
    nix::sys::prctl::set_dumpable(false)?;
    let _ = nix::sys::prctl::set_name(c"runvoy-agent");
    Ok(())
}

/// A further stage of this very program, with an empty environment.
pub(crate) fn stage(name: &str) -> std::process::Command {
    use std::os::unix::process::CommandExt as _;

    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("runvoy-agent").arg(name).env_clear();
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"42 (a) R 1 (b c)) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
        assert_eq!(parse_stat(line), Some(Stat { parent: 7, start_time: 98765 }));
    }

    #[test]
    fn this_process_has_a_stat() {
        assert!(stat("self").is_some_and(|stat| stat.parent > 0 && stat.start_time > 0));
    }
}
