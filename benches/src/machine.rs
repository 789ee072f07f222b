//! What the machine says, and what it can do without us.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::Samples;

/// Ticks a second of the times in `/proc`: part of the kernel's interface.
const TICKS: u32 = 100;

/// The time that a process has spent on processors.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    times(pid).map(|[own, _]| own)
}

/// The time that the ended and awaited children of a process have spent.
pub(crate) fn cpu_of_children(pid: u32) -> Result<Duration> {
    times(pid).map(|[_, children]| children)
}

fn times(pid: u32) -> Result<[Duration; 2]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; what follows it begins with the state, the third field.
    let (_, fields) = stat.rsplit_once(") ").ok_or("a stat of another kind")?;
    let ticks = fields.split(' ').skip(11).take(4).map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let [user, system, of_user, of_system] = ticks.try_into().map_err(|_| "a short stat")?;
    Ok([user + system, of_user + of_system].map(|ticks| Duration::from_secs(1) * ticks / TICKS))
}

/// KiB of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) now: u64,
    /// Resident at most, so far.
    pub(crate) peak: u64,
    /// Resident and shared with nobody: not pages of files.
    pub(crate) anonymous: u64,
}

/// The memory of a process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .ok_or("a status of another kind")
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")?, anonymous: field("RssAnon:")? })
}

/// The processes whose command line ends in a path to `name`, each with its second word.
pub(crate) fn processes_for(name: &str) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<_> = line.trim_end_matches('\0').split('\0').collect();
        if let [_, verb, path] = words.as_slice()
            && path.ends_with(name)
        {
            found.push((pid, (*verb).to_owned()));
        }
    }
    Ok(found)
}

/// 4 KiB appended and made durable, again and again: what no durable answer can be faster than.
pub(crate) fn fdatasync(dir: &Path, times: usize) -> Result<Samples> {
    let path = dir.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut samples = Vec::with_capacity(times);
    for _ in 0..times {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        samples.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    Ok(Samples::new(samples))
}

/// How long it takes to start a program and to see it end.
pub(crate) fn spawn(mut command: Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let elapsed = begun.elapsed();
    if status.success() { Ok(elapsed) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// How long it takes until the first line of a program is read through a pipe.
pub(crate) fn first_line(mut command: Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    let elapsed = begun.elapsed();
    child.wait()?;
    if line.is_empty() { Err(format!("{command:?} said nothing").into()) } else { Ok(elapsed) }
}

/// How long it takes until `cat` has read everything that a program writes.
pub(crate) fn through_cat(mut command: Command) -> Result<Duration> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().ok_or("no pipe")?;
    let cat = Command::new("cat").stdin(pipe).stdout(Stdio::null()).status()?;
    let elapsed = begun.elapsed();
    let status = child.wait()?;
    if cat.success() && status.success() { Ok(elapsed) } else { Err("cat or its writer failed".into()) }
}
