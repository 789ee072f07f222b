//! Other processes: which of them belong to an execution, and how to signal exactly those.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use runvoy_core::id::ExecutionId;
use runvoy_task::AgentProcess;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Longest time that is spent on killing before somebody else has to come again.
const KILLING: Duration = Duration::from_secs(3);

/// The variable by which what a dead agent left behind is found.
pub(super) const ID_VARIABLE: &str = "RUNVOY_EXECUTION_ID";

/// A process, held so that its number cannot become somebody else's.
pub(super) struct Held {
    fd: OwnedFd,
}

impl Held {
    /// Takes hold of a process if it still is the one that is meant; `None` if that is gone.
    pub(super) fn agent(process: &AgentProcess) -> io::Result<Option<Self>> {
        let Some(held) = Self::open(process.pid)? else { return Ok(None) };
        // Looked at after it is held: whose number it was before does not matter.
        let is_it = start_time(process.pid) == Some(process.start_time);
        Ok(is_it.then_some(held))
    }

    fn open(pid: u32) -> io::Result<Option<Self>> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { fd })),
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Signals it; one that has ended needs none.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Readable once the process has ended.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// The machine's current boot.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in ticks since boot; `None` once it has ended, reaped or not.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may hold any bytes, so that fields are counted from the last one.
fn parse_stat(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.get(memchr::memrchr(b')', bytes)? + 1..)?;
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start_time)
}

/// What of an execution is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// An agent, which looks after the rest.
    Agent,
    /// Something, or something that may become its command in a moment.
    Something,
}

/// Whether an agent of an execution is there.
pub(super) fn has_agent(dir: &Path, id: ExecutionId) -> io::Result<bool> {
    Ok(!find(dir, id)?.agents.is_empty())
}

/// Kills what an execution left behind when its agent died, until nothing of it is found.
pub(super) fn sweep(dir: &Path, id: ExecutionId) -> io::Result<Left> {
    let until = Instant::now() + KILLING;
    loop {
        let found = find(dir, id)?;
        if !found.agents.is_empty() {
            return Ok(Left::Agent);
        }
        if found.members.is_empty() {
            return Ok(if found.becoming { Left::Something } else { Left::Nothing });
        }
        if Instant::now() >= until {
            return Ok(Left::Something);
        }
        kill(&found.members)?;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the agents of an execution, then what they leave behind.
pub(super) fn kill_all(dir: &Path, id: ExecutionId) -> io::Result<()> {
    kill(&find(dir, id)?.agents)?;
    sweep(dir, id).map(drop)
}

/// All halted before the first is killed, so that fewer are born meanwhile.
fn kill(processes: &[Held]) -> io::Result<()> {
    for signal in [Signal::STOP, Signal::KILL] {
        for process in processes {
            process.signal(signal)?;
        }
    }
    Ok(())
}

struct Belonging {
    agents: Vec<Held>,
    members: Vec<Held>,
    /// Whether an agent's stage is about to become some command: its own environment is empty.
    becoming: bool,
}

enum Role {
    Agent,
    Member,
    Becoming,
}

fn find(dir: &Path, id: ExecutionId) -> io::Result<Belonging> {
    let mut found = Belonging { agents: Vec::new(), members: Vec::new(), becoming: false };
    let variable = format!("{ID_VARIABLE}={id}").into_bytes();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() || role(pid, dir, &variable).is_none() {
            continue;
        }
        // Looked at again now that it is held.
        let Some(held) = Held::open(pid)? else { continue };
        match role(pid, dir, &variable) {
            Some(Role::Agent) => found.agents.push(held),
            Some(Role::Member) => found.members.push(held),
            Some(Role::Becoming) => found.becoming = true,
            None => {}
        }
    }
    Ok(found)
}

/// What a process is to an execution. One that has ended has neither arguments nor environment.
fn role(pid: u32, dir: &Path, variable: &[u8]) -> Option<Role> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let arguments = read("cmdline");
    let words: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    let dir = dir.as_os_str().as_encoded_bytes();
    match words.as_slice() {
        [_, b"supervise" | b"init", word, ..] if *word == dir && is_agents_user(pid) => Some(Role::Agent),
        [b"runvoy-agent", b"exec", ..] if is_agents_user(pid) => Some(Role::Becoming),
        _ => read("environ").split(|byte| *byte == 0).any(|entry| entry == variable).then_some(Role::Member),
    }
}

/// Whether a process may be an agent: a command of another user only pretends to be one.
fn is_agents_user(pid: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // A process that cannot be debugged, as the agent, shows as root's.
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == 0 || found.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_until_it_has_ended() {
        let line = |state| {
            format!("42 (a) R 1 (b c)) {state} 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1")
        };
        assert_eq!(parse_stat(line("S").as_bytes()), Some(98765));
        assert_eq!(parse_stat(line("Z").as_bytes()), None);
        let me = std::process::id();
        let process =
            AgentProcess { pid: me, start_time: start_time(me).unwrap(), boot_id: boot_id().unwrap() };
        assert!(Held::agent(&process).unwrap().is_some());
        let other = AgentProcess { start_time: process.start_time + 1, ..process };
        assert!(Held::agent(&other).unwrap().is_none());
    }
}
