//! Where a repository is: what is taken, and what is refused in words.

use ureq::http::Uri;

use super::super::fault::Fault;

/// An address that may be connected to.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: String,
    /// Name and port, for people.
    host: String,
    is_https: bool,
}

impl Address {
    /// Checks an address. None of the refusals repeats it: it may hold a password.
    pub(super) fn parse(url: &str, has_token: bool) -> Result<Self, Fault> {
        let refused = |why: &str| Fault::new(format!("the repository's address {why}"));
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refused(if looks_like_ssh(url) { SSH } else { "is not an https:// URL; use one" }));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" if authority.contains('@') => {
                return Err(refused("holds a user name or password; give the token as a secret instead"));
            }
            "http" if has_token => {
                return Err(refused("is http://, which would show the token; use https://"));
            }
            "https" | "http" => {}
            "ssh" | "git+ssh" | "ssh+git" => return Err(refused(SSH)),
            "git" => return Err(refused("is git://, which is not encrypted; use https://")),
            "file" => return Err(refused("is file://; upload the directory instead, or use https://")),
            _ => return Err(refused("is not an https:// URL; use one")),
        }
        let uri: Uri = url.parse().map_err(|_| refused("is not a URL"))?;
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !br#""\`<>{}|^?#"#.contains(&byte));
        match uri.host() {
            Some(host) if !host.is_empty() && is_plain => Ok(Self {
                url: url.trim_end_matches('/').to_owned(),
                host: uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
                is_https: uri.scheme_str() == Some("https"),
            }),
            _ => Err(refused("is not a URL of a repository: https://HOST/PATH")),
        }
    }

    /// The whole address; it holds no secret.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The server, for people.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }
}

const SSH: &str = "is an SSH address, which needs a key in the image; use the https:// URL, with a token for a \
                   private repository";

/// As in `git@host:path`.
fn looks_like_ssh(url: &str) -> bool {
    url.split('/').next().is_some_and(|first| first.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_in_words_that_repeat_no_password() {
        for (url, token, word) in [
            ("git@github.com:a/b.git", false, "SSH"),
            ("ssh://git@github.com/a/b.git", true, "SSH"),
            ("git+ssh://github.com/a/b.git", true, "SSH"),
            ("git://github.com/a/b.git", false, "git://"),
            ("file:///srv/a.git", false, "file://"),
            ("/srv/a.git", false, "https://"),
            ("https://me:hunter22@github.com/a/b.git", false, "secret"),
            ("https://hunter22@github.com/a/b.git", true, "secret"),
            ("http://github.com/a/b.git", true, "https://"),
            ("https:///a/b.git", false, "URL"),
            ("https://github.com/a b.git", false, "URL"),
            ("https://github.com/a\"\n[core]", false, "URL"),
            ("https://github.com/a.git?x=1", false, "URL"),
            ("ftp://github.com/a/b.git", false, "https://"),
            ("", false, "https://"),
        ] {
            let fault = Address::parse(url, token).unwrap_err();
            assert!(fault.sentence.contains(word), "{url}: {}", fault.sentence);
            assert!(!fault.sentence.contains("hunter22"));
        }
        let address = Address::parse("https://git.example.com:8443/a/b.git/", true).unwrap();
        assert_eq!(
            (address.url(), address.host()),
            ("https://git.example.com:8443/a/b.git", "git.example.com:8443")
        );
        assert!(!Address::parse("http://git.example.com/a", false).unwrap().is_https());
    }
}
