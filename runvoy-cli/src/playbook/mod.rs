//! Playbooks: runs that are written down, a YAML file each.

mod join;
mod keys;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr;

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::id::LockName;
use runvoy_core::locks::WhenHeld;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

pub(crate) use place::Places;

use crate::duration;
use crate::error::{CliError, Kind};

/// A file's content. `Debug` shows no variable's value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Playbook {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_repo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_token_secret: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    commands: Vec<String>,
    #[serde(deserialize_with = "checked", skip_serializing_if = "Option::is_none")]
    lock: Option<LockName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_lock_held: Option<WhenHeld>,
    #[serde(deserialize_with = "checked", skip_serializing_if = "Option::is_none")]
    timeout: Option<Seconds>,
}

impl fmt::Debug for Playbook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Playbook").field("commands", &self.commands).finish_non_exhaustive()
    }
}

impl Playbook {
    /// Reads a file; what is wrong with it is told with its line.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            CliError::new(Kind::Config, format!("`{}` cannot be read: {e}", path.display())).because(e)
        })?;
        Self::parse(&text).map_err(|fault| {
            let line = fault.line.map(|line| format!(" line {line}")).unwrap_or_default();
            CliError::new(Kind::Config, format!("`{}`{line}: {}", path.display(), fault.what))
        })
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        keys::check(text)?;
        // An empty file is a null document.
        let playbook = serde_yaml_ng::from_str::<Option<Self>>(text)?.unwrap_or_default();
        if playbook.commands.is_empty() {
            return Err(Fault::whole("it has no `commands`"));
        }
        if let Some(at) = playbook.commands.iter().position(|command| command.trim().is_empty()) {
            return Err(Fault::whole(format!("command {} is empty", at + 1)));
        }
        Ok(playbook)
    }

    /// The run that it stands for.
    pub(crate) fn request(self) -> RunRequest {
        let line = join::join(&self.commands);
        RunRequest {
            image: self.image,
            env: self.env,
            secrets: self.secrets,
            git_repo: self.git_repo,
            git_ref: self.git_ref,
            git_path: self.git_path,
            git_token_secret: self.git_token_secret,
            lock: self.lock.map(|lock| lock.to_string()),
            on_lock_held: self.on_lock_held.map(|when| when_held(when).to_owned()),
            timeout: self.timeout.map(|timeout| timeout.0),
            ..RunRequest::new(Command::Shell(line))
        }
    }

    /// Its fields for people.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Option<String>)> {
        let env: Vec<_> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            ("description", self.description.clone()),
            ("image", self.image.clone()),
            ("git repo", self.git_repo.clone()),
            ("git ref", self.git_ref.clone()),
            ("git path", self.git_path.clone()),
            ("git token secret", self.git_token_secret.clone()),
            ("secrets", Some(self.secrets.join(" "))),
            ("env", Some(env.join(" "))),
            ("lock", self.lock.as_ref().map(ToString::to_string)),
            ("on lock held", self.on_lock_held.map(|when| when_held(when).to_owned())),
            ("timeout", self.timeout.map(|timeout| duration::show(timeout.0))),
            ("command", Some(join::join(&self.commands))),
        ]
    }
}

fn when_held(when: WhenHeld) -> &'static str {
    match when {
        WhenHeld::Fail => "fail",
        WhenHeld::Queue => "queue",
    }
}

/// A length of time, in JSON the whole seconds of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Seconds(u64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration::parse(text).map(|time| Self(time.as_secs()))
    }
}

/// Reads what has to be looked at before it is believed. Raised inside the visitor, an error knows its line.
fn checked<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData)).map(Some)
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: Option<usize>,
    what: String,
}

impl Fault {
    fn whole(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

impl From<serde_yaml_ng::Error> for Fault {
    fn from(error: serde_yaml_ng::Error) -> Self {
        let text = error.to_string();
        let Some(at) = error.location() else { return Self::whole(text) };
        // The parser ends its sentence with the place, which stands in front here.
        let place = format!(" at line {} column {}", at.line(), at.column());
        let what = text.strip_suffix(&place).unwrap_or(&text).to_owned();
        Self { line: Some(at.line()), what }
    }
}
