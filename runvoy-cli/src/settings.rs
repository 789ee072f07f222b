//! Which server, with which key: option, environment, file, in that order.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::HeaderValue;
use url::{Host, Url};

use crate::config::{Config, REMEDY};
use crate::env_vars;
use crate::error::{CliError, Kind};

/// What decides, gathered so that a test can give it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// `--profile`.
    pub(crate) profile_option: Option<String>,
    /// `RUNVOY_PROFILE`.
    pub(crate) profile_variable: Option<String>,
    /// `RUNVOY_API_ENDPOINT`.
    pub(crate) endpoint_variable: Option<String>,
    /// `RUNVOY_API_KEY`.
    pub(crate) key_variable: Option<String>,
    /// `--insecure-http`.
    pub(crate) insecure_http: bool,
}

impl Sources {
    /// From the options and the process's environment.
    pub(crate) fn from_process(args: &crate::args::GlobalArgs) -> Self {
        // An empty variable is as good as none.
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            profile_option: args.profile.clone(),
            profile_variable: variable(env_vars::PROFILE),
            endpoint_variable: variable(env_vars::API_ENDPOINT),
            key_variable: variable(env_vars::API_KEY),
            insecure_http: args.insecure_http,
        }
    }
}

/// The configuration file's path.
pub(crate) fn config_path() -> Result<PathBuf, CliError> {
    match std::env::var_os(env_vars::CONFIG).filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => Config::default_path(),
    }
}

/// Which server, with which key. `Debug` shows no key.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The server.
    pub(crate) endpoint: Endpoint,
    /// The key as a header, if there is one.
    pub(crate) key: Option<HeaderValue>,
    /// Whether the environment names the server, which no key of the file is sent to then.
    pub(crate) is_of_environment: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Settings {
    /// Decides; `read` gives the configuration file and is called only if it is needed.
    pub(crate) fn resolve(
        sources: &Sources,
        read: impl FnOnce() -> Result<Option<Config>, CliError>,
    ) -> Result<Self, CliError> {
        let (endpoint, key) = match (&sources.profile_option, &sources.endpoint_variable) {
            // A key of the file would go to whoever set the variable.
            (None, Some(endpoint)) => (endpoint.clone(), sources.key_variable.clone()),
            (Some(name), _) => from_file(read()?, Some(name))?,
            (None, None) => {
                let (endpoint, key) = from_file(read()?, sources.profile_variable.as_deref())?;
                (endpoint, sources.key_variable.clone().or(key))
            }
        };
        let is_of_environment = sources.profile_option.is_none() && sources.endpoint_variable.is_some();
        let endpoint = Endpoint::parse(&endpoint)?;
        if !endpoint.private && !sources.insecure_http {
            let what = format!("`{endpoint}` would send the API key unencrypted");
            return Err(CliError::new(Kind::Config, what).hint("use `https`, or pass --insecure-http"));
        }
        Ok(Self { endpoint, key: key.as_deref().map(key_header).transpose()?, is_of_environment })
    }
}

fn from_file(config: Option<Config>, name: Option<&str>) -> Result<(String, Option<String>), CliError> {
    let config = config.ok_or_else(|| CliError::new(Kind::Config, "no server is configured").hint(REMEDY))?;
    let shown = name.unwrap_or("default");
    let profile = config.profile(name).ok_or_else(|| {
        let known: Vec<_> = config.profiles.keys().map(String::as_str).chain(["default"]).collect();
        let what = format!("there is no profile `{shown}`, only {}", known.join(", "));
        CliError::new(Kind::Config, what).hint(format!("run `runvoy configure --profile {shown}`"))
    })?;
    let endpoint = profile.api_endpoint.clone().filter(|endpoint| !endpoint.is_empty()).ok_or_else(|| {
        CliError::new(Kind::Config, format!("profile `{shown}` names no server")).hint(REMEDY)
    })?;
    Ok((endpoint, profile.api_key.clone().filter(|key| !key.is_empty())))
}

/// A key as the header that carries it, never shown.
pub(crate) fn key_header(key: &str) -> Result<HeaderValue, CliError> {
    let key = key.trim();
    let mut value =
        HeaderValue::from_bytes(key.as_bytes()).ok().filter(|_| !key.is_empty()).ok_or_else(|| {
            CliError::new(Kind::Config, "the API key has characters that no key has").hint(REMEDY)
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A server's address: `http` or `https`, maybe with a path in front of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: String,
    /// Whether nobody else can read along.
    private: bool,
}

impl Endpoint {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            let what = format!("`{}` is no server address: {why}", without_password(text));
            CliError::new(Kind::Config, what).hint("write `https://HOST`")
        };
        let url = Url::parse(text.trim()).map_err(|e| wrong(&e.to_string()))?;
        let host = url.host().ok_or_else(|| wrong("it names no host"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither `http://` nor `https://`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it holds a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it holds a `?` or a `#`"));
        }
        let private = url.scheme() == "https" || is_loopback(&host);
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), private })
    }

    /// The stand-in for a server inside this process.
    #[cfg(any(test, feature = "local"))]
    pub(crate) fn in_process() -> Self {
        Self { base: "http://localhost".to_owned(), private: true }
    }

    /// The address, without a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.base
    }

    /// Whether nobody else can read along: `https`, or this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.private
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
    }
}

/// What may be shown of an address that somebody mistyped.
fn without_password(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
