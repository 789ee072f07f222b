//! What is asked of the server for a branch, a tag or a commit.

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice as _};

use super::super::fault::Fault;

/// A ref as the caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All digits of a commit.
    Commit(ObjectId),
    /// `HEAD`, or a name that begins with `refs/`.
    Full(String),
    /// A branch, or else a tag.
    Short(String),
}

impl Wanted {
    pub(super) fn parse(name: &str) -> Result<Self, Fault> {
        let is_hex = name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && name.len() == 40 {
            return ObjectId::from_hex(name.as_bytes())
                .map(Self::Commit)
                .map_err(|_| Fault::new(format!("`{name}` is no commit")));
        }
        let is_name =
            !name.starts_with('-') && gix::validate::reference::name_partial(BStr::new(name)).is_ok();
        if !is_name {
            return Err(Fault::new(format!(
                "git_ref `{}` is no name of a branch, tag or commit",
                name.escape_debug()
            )));
        }
        let is_full = name == "HEAD" || name.starts_with("refs/");
        Ok(if is_full { Self::Full(name.to_owned()) } else { Self::Short(name.to_owned()) })
    }

    /// The names that the server may have it under, best first; none for a commit.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Commit(_) => Vec::new(),
            Self::Full(name) => vec![name.clone()],
            Self::Short(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
        }
    }

    /// What to fetch, and under which name to keep it.
    pub(super) fn refspecs(&self) -> Vec<String> {
        if let Self::Commit(id) = self {
            return vec![id.to_string()];
        }
        let spec = |name: String| match kept_as(BStr::new(&name)) {
            Some(local) => format!("+{name}:{local}"),
            None => name,
        };
        self.names().into_iter().map(spec).collect()
    }

    /// What to say when the server does not have it.
    pub(super) fn not_found(&self, host: &str) -> Fault {
        Fault::new(match self {
            Self::Commit(id) => format!(
                "the repository on {host} has no commit {id}, or does not give it out; name a branch or tag that \
                 holds it, or push it"
            ),
            Self::Full(name) => format!("the repository on {host} has no ref `{name}`; check git_ref"),
            Self::Short(name) if looks_abbreviated(name) => format!(
                "the repository on {host} has no branch or tag `{name}`; if it is a commit, give all 40 digits"
            ),
            Self::Short(name) => {
                format!("the repository on {host} has no branch or tag `{name}`; check git_ref")
            }
        })
    }
}

/// Branches as git clone keeps them, tags as they are, other refs by their commit alone.
fn kept_as(name: &BStr) -> Option<String> {
    let text = name.to_str().ok()?;
    match text.strip_prefix("refs/heads/") {
        Some(branch) => Some(format!("refs/remotes/origin/{branch}")),
        None => text.starts_with("refs/tags/").then(|| text.to_owned()),
    }
}

fn looks_abbreviated(name: &str) -> bool {
    (4..40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Wanted::parse(commit).unwrap().refspecs(), [commit]);
        assert_eq!(
            Wanted::parse("feature/x").unwrap().refspecs(),
            [
                "+refs/heads/feature/x:refs/remotes/origin/feature/x",
                "+refs/tags/feature/x:refs/tags/feature/x"
            ]
        );
        assert_eq!(Wanted::parse("refs/pull/1/head").unwrap().refspecs(), ["refs/pull/1/head"]);
        assert_eq!(Wanted::parse("HEAD").unwrap(), Wanted::Full("HEAD".to_owned()));
        assert!(Wanted::parse("0123abc").unwrap().not_found("h").sentence.contains("40 digits"));
    }

    #[test]
    fn what_could_be_read_as_a_refspec_is_no_name() {
        for name in [
            "", "-x", "a:b", "+a", "^a", "a b", "a..b", "a*", "a~1", "a^", "a\nb", "/a", "a/", "@{1}",
            "a.lock",
        ] {
            let parsed = Wanted::parse(name);
            assert!(parsed.is_err() || name == "+a", "{name}: {parsed:?}");
        }
    }
}
