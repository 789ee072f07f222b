//! The configuration file: `~/.runvoy/config.yaml`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

use crate::error::{CliError, Kind};

/// What to run when there is no usable file.
pub(crate) const REMEDY: &str = "run `runvoy configure --endpoint URL --api-key KEY`";

/// The file: the default profile at the top level, others below `profiles`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The default profile.
    #[serde(flatten)]
    pub(crate) default: Profile,
    /// The others, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) profiles: BTreeMap<String, Profile>,
    /// What other versions wrote; kept when the file is written again.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// One server and the key for it. `Debug` shows no key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// The server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_endpoint: Option<String>,
    /// The API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
    /// The web page, where it is not the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) web_url: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("api_endpoint", &self.api_endpoint).finish_non_exhaustive()
    }
}

impl Config {
    /// Where the file is, unless a variable names another.
    pub(crate) fn default_path() -> Result<PathBuf, CliError> {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
            CliError::new(Kind::Config, "there is no home directory for the configuration file")
                .hint("set RUNVOY_CONFIG to a file")
        })?;
        Ok(home.join(".runvoy").join("config.yaml"))
    }

    /// Reads the file; `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let what = format!("`{}` cannot be read: {e}", path.display());
                return Err(CliError::new(Kind::Config, what)
                    .hint("make it a readable file, or set RUNVOY_CONFIG to another one"));
            }
        };
        // An empty file is a null document.
        let parsed = serde_yaml_ng::from_str::<Option<Self>>(&text);
        parsed.map(|config| Some(config.unwrap_or_default())).map_err(|e| {
            // The parser's words could quote a key from the file.
            let place = e.location().map(|at| format!(" (line {})", at.line())).unwrap_or_default();
            let what = format!("`{}` is no valid configuration{place}", path.display());
            CliError::new(Kind::Config, what).hint("mend or remove it, then run `runvoy configure`")
        })
    }

    /// Writes the file for its owner alone, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_yaml_ng::to_string(self).map_err(io::Error::other);
        text.and_then(|text| write_private(path, text.as_bytes()))
            .map_err(|e| CliError::new(Kind::Config, format!("`{}` cannot be written: {e}", path.display())))
    }

    /// The profile of a name, or the default one; made if it is missing.
    pub(crate) fn profile_mut(&mut self, name: Option<&str>) -> &mut Profile {
        match name {
            Some(name) if name != "default" => self.profiles.entry(name.to_owned()).or_default(),
            _ => &mut self.default,
        }
    }

    /// The profile of a name, or the default one.
    pub(crate) fn profile(&self, name: Option<&str>) -> Option<&Profile> {
        match name {
            Some(name) if name != "default" => self.profiles.get(name),
            _ => Some(&self.default),
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link to the file, as dotfile managers make it, stays a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = dir.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&partial);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&partial)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&partial, &path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "api_endpoint: http://127.0.0.1:8080\napi_key: c2FtcGxlLWtleS0wMDAwMDAwMDAwMDAw\n\
                       web_url: http://127.0.0.1:5173\nlater: {kept: true}\n";

    #[test]
    fn files_of_existing_installations_keep_working() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.yaml");
        assert!(Config::read(&path).unwrap().is_none());
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(&path, OLD).unwrap();
        let mut config = Config::read(&path).unwrap().unwrap();
        assert_eq!(config.default.api_endpoint.as_deref(), Some("http://127.0.0.1:8080"));

        config.profile_mut(Some("ci")).api_endpoint = Some("https://ci".into());
        config.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("kept: true"), "{text}");
        let again = Config::read(&path).unwrap().unwrap();
        assert_eq!(again.default, config.default);
        assert_eq!(again.profile(Some("ci")), config.profile(Some("ci")));
        assert!(again.profile(Some("other")).is_none());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file stays");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Config::default().write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_bad_file_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, "api_key: [rv_secret\n").unwrap();
        let error = Config::read(&path).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        let text = format!("{error} {:?}", error.details());
        assert!(text.contains("no valid configuration") && !text.contains("rv_secret"), "{text}");
    }
}
