//! Where a repository is: what is taken, and what is refused in words.

use std::fmt;

use runvoy_task::checkout;
use ureq::http::Uri;

use super::super::fault::Fault;

/// An address that may be connected to.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: String,
    /// Name and port, for people.
    host: String,
}

impl Address {
    /// Checks an address. None of the refusals repeats it: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, Fault> {
        let refused = |why: &dyn fmt::Display| Fault::new(format!("the repository's address {why}"));
        checkout::check_url(url).map_err(|why| refused(&why))?;
        let uri: Uri = url.parse().map_err(|_| refused(&"is not a URL"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refused(&"names no host"))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            host: uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        })
    }

    /// The whole address; it holds no secret.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The server, for people.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_in_words_that_repeat_no_password() {
        for (url, word) in [
            ("git@github.com:a/b.git", "SSH"),
            ("https://me:hunter22@github.com/a/b.git", "secret"),
            ("http://github.com/a/b.git", "https://"),
            ("https://[a/b.git", "URL"),
        ] {
            let fault = Address::parse(url).unwrap_err();
            assert!(fault.sentence.contains(word), "{url}: {}", fault.sentence);
            assert!(!fault.sentence.contains("hunter22"));
        }
        let address = Address::parse("https://git.example.com:8443/a/b.git/").unwrap();
        assert_eq!(
            (address.url(), address.host()),
            ("https://git.example.com:8443/a/b.git", "git.example.com:8443")
        );
    }
}
