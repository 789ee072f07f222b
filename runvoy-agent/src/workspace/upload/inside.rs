//! Whether names stay inside the workspace.

/// The components of an entry's name; `None` if it leads, or could lead, out. Empty for the workspace itself.
pub(super) fn way(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.first() == Some(&b'/') || path.contains(&0) {
        return None;
    }
    let components = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    components.map(|name| (name != b"..").then_some(name)).collect()
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
}
