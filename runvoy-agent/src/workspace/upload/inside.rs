//! Whether names stay inside the workspace.

/// The components of an entry's name; `None` if it leads, or could lead, out. Empty for the workspace itself.
pub(super) fn way(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.first() == Some(&b'/') || path.contains(&0) {
        return None;
    }
    let components = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    components.map(|name| (name != b"..").then_some(name)).collect()
}

/// Whether a symbolic link in a directory of this depth stays inside the workspace, whatever other links there are.
///
/// Upwards it may go only at its beginning, where the directories are known to be real: behind a name that is itself a
/// link, `..` would be somewhere else. Each link being so, a way along any of them stays inside.
pub(super) fn stays(depth: usize, target: &[u8]) -> bool {
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
    fn names_that_lead_out_have_no_way() {
        for path in ["/etc/passwd", "..", "../x", "a/../../x", "a/..", "./../x", "a\0b", "/"] {
            assert_eq!(way(path.as_bytes()), None, "{path}");
        }
        assert_eq!(way(b"./a//b/./c/"), Some(vec![&b"a"[..], b"b", b"c"]));
        assert_eq!(way(b"./"), Some(vec![]));
        assert_eq!(way(b"..a/b.."), Some(vec![&b"..a"[..], b"b.."]));
    }

    #[test]
    fn links_stay_if_they_go_up_no_further_than_the_workspace_and_only_first() {
        for (depth, target) in
            [(0, "a"), (0, "./a/b"), (1, "../a"), (2, "../../a"), (1, ".."), (2, "./.././../x")]
        {
            assert!(stays(depth, target.as_bytes()), "{depth} {target}");
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
            assert!(!stays(depth, target.as_bytes()), "{depth} {target}");
        }
    }
}
