//! Which symbolic links of uploaded code stay inside it: one rule for who packs and who unpacks.

/// Whether a symbolic link in a directory of this depth stays inside the workspace, whatever other links there are.
///
/// Upwards it may go only at its beginning, where the directories are known to be real: behind a name that is itself a
/// link, `..` would be somewhere else. Each link being so, a way along any of them stays inside.
///
/// ```
/// use runvoy_task::links::stay;
///
/// assert!(stay(1, b"../other"));
/// assert!(!stay(0, b"../other") && !stay(3, b"/etc/passwd") && !stay(3, b"a/../b"));
/// ```
pub fn stay(depth: usize, target: &[u8]) -> bool {
    if target.is_empty() || target.first() == Some(&b'/') || target.contains(&0) {
        return false;
    }
    let mut names = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).peekable();
    let mut up = 0;
    while names.next_if_eq(&&b".."[..]).is_some() {
        up += 1;
    }
    up <= depth && names.all(|name| name != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_if_they_go_up_no_further_than_the_workspace_and_only_first() {
        for (depth, target) in
            [(0, "a"), (0, "./a/b"), (1, "../a"), (2, "../../a"), (1, ".."), (2, "./.././../x")]
        {
            assert!(stay(depth, target.as_bytes()), "{depth} {target}");
        }
        for (depth, target) in [
            (0, ".."),
            (0, "../a"),
            (1, "../../a"),
            (3, "/etc"),
            (3, "a/.."),
            (3, "../a/../b"),
            (1, ""),
            (1, "a\0"),
        ] {
            assert!(!stay(depth, target.as_bytes()), "{depth} {target}");
        }
    }
}
