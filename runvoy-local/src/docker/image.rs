//! What an image says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard::models::ImageInspect;
use nix::sys::signal::Signal;

/// The variable that engines set where an image does not.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// The engine's name for exactly this one.
    pub(super) id: String,
    /// What it is everywhere: the digest in its repository, its id where it came from none.
    pub(super) digest: String,
    /// `OS/ARCHITECTURE`.
    pub(super) platform: String,
    /// Its variables, with the `PATH` that every container has.
    pub(super) env: BTreeMap<String, String>,
    /// Who its commands run as; `0` where it does not say.
    pub(super) user: String,
    /// Where its commands start.
    pub(super) workdir: PathBuf,
    /// What asks its commands to end, without `SIG`.
    pub(super) stop_signal: Option<String>,
}

impl Image {
    pub(super) fn new(found: ImageInspect) -> Self {
        let id = found.id.unwrap_or_default();
        let digest = found.repo_digests.iter().flatten().find_map(|digest| digest.split_once('@'));
        let digest = digest.map_or_else(|| id.clone(), |(_, digest)| digest.to_owned());
        let config = found.config.unwrap_or_default();
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        env.extend(config.env.iter().flatten().filter_map(|entry| {
            entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        }));
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            id,
            digest,
            platform: format!("{}/{}", found.os.unwrap_or_default(), found.architecture.unwrap_or_default()),
            env,
            user: given(config.user).unwrap_or_else(|| "0".to_owned()),
            workdir: PathBuf::from("/").join(config.working_dir.unwrap_or_default()),
            stop_signal: given(config.stop_signal).and_then(|name| signal_name(&name)),
        }
    }

    /// Whether it is for a platform `OS/ARCHITECTURE[/VARIANT]`.
    pub(super) fn is_for(&self, platform: &str) -> bool {
        let wanted: Vec<&str> = platform.split('/').take(2).collect();
        wanted.join("/").eq_ignore_ascii_case(&self.platform)
    }
}

/// A signal as images name it: `SIGQUIT`, `QUIT`, `3`. `None` for one that an agent does not send.
fn signal_name(text: &str) -> Option<String> {
    let signal = match text.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok()?,
        Err(_) => format!("SIG{}", text.strip_prefix("SIG").unwrap_or(text)).parse().ok()?,
    };
    signal.as_str().strip_prefix("SIG").map(str::to_owned)
}

/// A reference with its tag: without one an engine would fetch all that there are.
pub(super) fn with_tag(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    let is_whole = reference.contains('@') || name.contains(':') || reference.starts_with("sha256:");
    if is_whole { reference.to_owned() } else { format!("{reference}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_get_a_tag_where_they_have_none() {
        for (given, whole) in [
            ("alpine", "alpine:latest"),
            ("host:5000/team/tool", "host:5000/team/tool:latest"),
            ("host:5000/team/tool:1", "host:5000/team/tool:1"),
            ("tool@sha256:00", "tool@sha256:00"),
            ("sha256:00", "sha256:00"),
        ] {
            assert_eq!(with_tag(given), whole);
        }
    }

    #[test]
    fn signals_are_read_in_every_form() {
        for (given, name) in [("SIGQUIT", "QUIT"), ("WINCH", "WINCH"), ("3", "QUIT"), ("15", "TERM")] {
            assert_eq!(signal_name(given).as_deref(), Some(name));
        }
        assert_eq!(signal_name("SIGRTMIN+3"), None);
        assert_eq!(signal_name("99"), None);
    }

    #[test]
    fn what_an_image_leaves_open_is_as_engines_have_it() {
        let image = Image::new(ImageInspect {
            id: Some("sha256:01".to_owned()),
            repo_digests: Some(vec!["tool@sha256:02".to_owned()]),
            os: Some("linux".to_owned()),
            architecture: Some("arm64".to_owned()),
            ..ImageInspect::default()
        });
        assert_eq!((image.id.as_str(), image.digest.as_str()), ("sha256:01", "sha256:02"));
        assert_eq!((image.user.as_str(), image.workdir.to_str()), ("0", Some("/")));
        assert_eq!(image.env.get("PATH").map(String::as_str), Some(PATH));
        assert!(
            image.is_for("linux/arm64/v8") && image.is_for("linux/arm64") && !image.is_for("linux/amd64")
        );
    }
}
