//! What the kernel killed in this container for want of memory.

use std::fs;

/// Of the two generations of control groups: a container sees its own group at the mount's top.
const COUNTERS: [&str; 2] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// A count of kills, to be compared with a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OomKills(u64);

impl OomKills {
    /// The count; `None` where the kernel shows none.
    pub(crate) fn so_far() -> Option<Self> {
        COUNTERS.iter().find_map(|file| count(&fs::read_to_string(file).ok()?)).map(Self)
    }

    /// Whether there were more since.
    pub(crate) fn has_grown(self) -> bool {
        Self::so_far().is_some_and(|now| now.0 > self.0)
    }
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_are_read() {
        assert_eq!(count("low 0\nhigh 1\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
