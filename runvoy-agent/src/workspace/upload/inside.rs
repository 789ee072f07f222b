//! Whether names stay inside the workspace.

/// Bytes of a name at most: the system knows no longer ones.
const LONGEST: usize = 4096;
/// Names on the way to an entry, and its own: what is deeper cannot be removed everywhere.
const DEEPEST: usize = 256;

/// The components of an entry's name, or what is wrong with it: it leads, or could lead, out, or has no end. Empty for the
/// workspace itself.
pub(super) fn way(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let components = || path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    if path.first() == Some(&b'/') || path.contains(&0) || components().any(|name| name == b"..") {
        return Err("a name that leads out of the workspace");
    }
    let way: Vec<_> = components().take(DEEPEST + 1).collect();
    if path.len() > LONGEST || way.len() > DEEPEST {
        return Err("a name that is too long or too deep");
    }
    Ok(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_have_no_way() {
        for path in ["/etc/passwd", "..", "../x", "a/../../x", "a/..", "./../x", "a\0b", "/"] {
            assert_eq!(way(path.as_bytes()), Err("a name that leads out of the workspace"), "{path}");
        }
        assert_eq!(way(b"./a//b/./c/"), Ok(vec![&b"a"[..], b"b", b"c"]));
        assert_eq!(way(b"./"), Ok(vec![]));
        assert_eq!(way(b"..a/b.."), Ok(vec![&b"..a"[..], b"b.."]));
    }

    #[test]
    fn names_have_an_end() {
        let (longest, deepest) = ("x".repeat(LONGEST), vec!["d"; DEEPEST].join("/"));
        assert_eq!(way(longest.as_bytes()).map(|way| way.len()), Ok(1));
        assert_eq!(way(format!("./{deepest}/").as_bytes()).map(|way| way.len()), Ok(DEEPEST));
        for path in [format!("{longest}x"), format!("{deepest}/d"), "./".repeat(LONGEST)] {
            assert_eq!(way(path.as_bytes()), Err("a name that is too long or too deep"), "{path}");
        }
    }
}
