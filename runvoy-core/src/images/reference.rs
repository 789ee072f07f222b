use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ParseIdError;
use crate::limits;

/// The tag of a reference that has none.
const LATEST: &str = "latest";

/// An image as registries name it: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    host: Option<String>,
    name: String,
    tag: String,
}

impl ImageReference {
    /// The registry, where it is named.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The name, its organisation included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest where there is one, else the tag, else `latest`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether both mean the same image, whatever registry it is in.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.tag == other.tag
    }
}

impl FromStr for ImageReference {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse(text).ok_or(ParseIdError(
            "this is no image's name: at most 512 characters `[HOST/]NAME[:TAG][@DIGEST]`, the name in lower case",
        ))
    }
}

fn parse(text: &str) -> Option<ImageReference> {
    if text.len() > limits::IMAGE_BYTES {
        return None;
    }
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let (host, rest) = match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, text),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (rest, None),
    };
    let fits = host.is_none_or(is_host)
        && name.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    fits.then(|| ImageReference {
        host: host.map(str::to_owned),
        name: name.to_owned(),
        tag: digest.or(tag).unwrap_or(LATEST).to_owned(),
    })
}

fn is_host(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'[';
    text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

/// A part of a name: lower-case letters and digits, with separators between them.
fn is_component(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = (text.bytes().next(), text.bytes().next_back());
    matches!(ends, (Some(first), Some(last)) if is_inner(first) && is_inner(last))
        && text.bytes().all(|byte| is_inner(byte) || b"._-".contains(&byte))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    !algorithm.is_empty()
        && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What an image is built for: `OS/ARCHITECTURE[/VARIANT]`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Platform(String);

impl Platform {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Platform {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parts: Vec<_> = text.split('/').map(str::to_ascii_lowercase).collect();
        let is_part = |part: &String| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if text.len() > 64 || !(2..=3).contains(&parts.len()) || !parts.iter().all(is_part) {
            return Err(ParseIdError("a platform is `OS/ARCHITECTURE[/VARIANT]`, as `linux/arm64`"));
        }
        // Two of the names that clouds have for what everybody else calls otherwise.
        let usual = |part: String| match part.as_str() {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            _ => part,
        };
        Ok(Self(parts.into_iter().map(usual).collect::<Vec<_>>().join("/")))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_registry_a_name_and_a_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, host, name, tag) in [
            ("alpine", None, "alpine", "latest"),
            ("golang:1.25", None, "golang", "1.25"),
            ("org/tool:v1", None, "org/tool", "v1"),
            ("docker.io/library/alpine:3", Some("docker.io"), "library/alpine", "3"),
            ("localhost/a", Some("localhost"), "a", "latest"),
            ("host:5000/a/b-c__d.e:T_1", Some("host:5000"), "a/b-c__d.e", "T_1"),
            (&format!("alpine@{digest}"), None, "alpine", &digest),
            (&format!("alpine:3@{digest}"), None, "alpine", &digest),
        ] {
            let found: ImageReference = text.parse().unwrap();
            assert_eq!((found.host(), found.name(), found.tag()), (host, name, tag), "{text}");
        }
    }

    #[test]
    fn what_no_registry_could_have_is_none() {
        let long = "a".repeat(513);
        for text in [
            "",
            "Alpine",
            "al pine",
            "alpine:",
            ":3",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a:b:c",
            "a@sha256",
            "a@sha256:0",
            "a\n",
            "ünï",
            "a:.x",
            "../a",
            long.as_str(),
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn platforms_are_written_in_one_way() {
        for (given, written) in [
            ("Linux/ARM64", "linux/arm64"),
            ("linux/X86_64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(given.parse::<Platform>().unwrap().as_str(), written);
        }
        for text in ["", "linux", "linux/", "a/b/c/d", "linux/arm 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
