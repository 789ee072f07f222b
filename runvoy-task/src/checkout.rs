//! What may be asked of a checkout: one set of rules for who accepts it and who carries it out.

use std::fmt;

/// Longest address of a repository, in bytes.
pub const URL_BYTES: usize = 2048;
/// Longest name of a branch, tag or commit, in bytes.
pub const REF_BYTES: usize = 255;
/// Longest path in a repository, in bytes.
pub const PATH_BYTES: usize = 1024;

/// Why something cannot be used: the end of a sentence whose beginning names it. Repeats nothing of it, which may be a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unusable {}

const SSH: &str = "is an SSH address, which needs a key in the image; use the https:// URL, with a token for a \
                   private repository";
const NO_URL: &str = "is not a URL of a repository: https://HOST/PATH";

/// Checks the address of a repository: `https://HOST/PATH`.
///
/// ```
/// use runvoy_task::checkout;
///
/// assert!(checkout::check_url("https://git.example.com/a.git").is_ok());
/// let why = checkout::check_url("git@git.example.com:a.git").unwrap_err();
/// assert!(why.to_string().starts_with("is an SSH address"));
/// ```
pub fn check_url(url: &str) -> Result<(), Unusable> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(Unusable(if looks_like_ssh(url) { SSH } else { "is not an https:// URL; use one" }));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "http" if authority.contains('@') => {
            return Err(Unusable("holds a user name or password; give the token as a secret instead"));
        }
        "https" => {}
        "http" => {
            return Err(Unusable("is http://, where anybody on the way can change the code; use https://"));
        }
        "ssh" | "git+ssh" | "ssh+git" => return Err(Unusable(SSH)),
        "git" => return Err(Unusable("is git://, which is not encrypted; use https://")),
        "file" => return Err(Unusable("is file://; upload the directory instead, or use https://")),
        _ => return Err(Unusable("is not an https:// URL; use one")),
    }
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !br#""\`<>{}|^?#"#.contains(&byte));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    match (host.is_empty(), is_plain, url.len() <= URL_BYTES) {
        (_, _, false) => Err(Unusable("is longer than 2048 bytes")),
        (false, true, true) => Ok(()),
        _ => Err(Unusable(NO_URL)),
    }
}

/// As in `git@host:path`.
fn looks_like_ssh(url: &str) -> bool {
    url.split('/').next().is_some_and(|first| first.contains(':'))
}

/// Whether this may be the name of a branch, a tag or a commit, by the rules of `git check-ref-format`.
pub fn is_ref(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && std::path::Path::new(part).extension().is_none_or(|end| end != "lock")
    };
    let is_plain = |byte: u8| byte > b' ' && byte != 0x7f && !b"~^:?*[\\".contains(&byte);
    (1..=REF_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && name.split('/').all(is_part)
}

/// The names on a path from a repository's root; `None` for a path that leads out of it.
pub fn path_names(path: &str) -> Option<Vec<&str>> {
    if path.starts_with('/') || path.contains('\0') || path.len() > PATH_BYTES {
        return None;
    }
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    names.map(|name| (name != "..").then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_in_words_that_repeat_no_password() {
        for (url, word) in [
            ("git@github.com:a/b.git", "SSH"),
            ("ssh://git@github.com/a/b.git", "SSH"),
            ("git+ssh://github.com/a/b.git", "SSH"),
            ("git://github.com/a/b.git", "git://"),
            ("file:///srv/a.git", "file://"),
            ("/srv/a.git", "https://"),
            ("https://me:hunter22@github.com/a/b.git", "secret"),
            ("https://hunter22@github.com/a/b.git", "secret"),
            ("http://github.com/a/b.git", "https://"),
            ("https:///a/b.git", "URL"),
            ("https://:443/a.git", "URL"),
            ("https://github.com/a b.git", "URL"),
            ("https://github.com/a\"\n[core]", "URL"),
            ("https://github.com/a.git?x=1", "URL"),
            ("ftp://github.com/a/b.git", "https://"),
            ("", "https://"),
        ] {
            let why = check_url(url).unwrap_err().to_string();
            assert!(why.contains(word) && !why.contains("hunter22"), "{url}: {why}");
        }
        let long = |bytes: usize| format!("https://host/{}", "a".repeat(bytes - 13));
        assert_eq!(check_url(&long(2048)), Ok(()));
        assert!(check_url(&long(2049)).unwrap_err().to_string().contains("2048"));
        assert_eq!(check_url("https://git.example.com:8443/a/b.git/"), Ok(()));
    }

    #[test]
    fn names_of_refs_are_those_of_git() {
        for name in ["main", "feature/x", "v1.0", "HEAD", "refs/pull/1/head", "+a", "a@b", "ä"] {
            assert!(is_ref(name), "{name}");
        }
        for name in [
            "", "-x", "a:b", "^a", "a b", "a..b", "a*", "a~1", "a\nb", "/a", "a/", "a//b", "@", "@{1}",
            "a.lock", "a.lock/b", ".a", "a/.b", "a.", "a\\b", "a[b",
        ] {
            assert!(!is_ref(name), "{name}");
        }
    }

    #[test]
    fn a_path_stays_in_the_repository() {
        for path in ["/etc", "..", "a/../..", "a/../b", "../a", "a\0"] {
            assert_eq!(path_names(path), None, "{path}");
        }
        assert_eq!(path_names("./a//b/").unwrap(), ["a", "b"]);
        assert!(path_names("").unwrap().is_empty());
    }
}
