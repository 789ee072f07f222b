//! The body of a run against every limit, before any effect.

use std::collections::BTreeMap;

use runvoy_task::CommandLine;
use sha2::{Digest, Sha256};

use super::{Config, Error, code, quote};
use crate::api::{
    ChangeImageRequest, CreateSecretRequest, DEFAULT_PLATFORM, MannerRequest, RegisterImageRequest,
    RunRequest, UpdateSecretRequest,
};
use crate::execution::{Asked, Container, LockUse, StartRequest, StopSignal};
use crate::id::{LockName, SecretName, is_variable_name};
use crate::images::{ImageChange, ImageSettings};
use crate::limits;
use crate::locks::WhenHeld;
use crate::port::Capabilities;
use crate::secrets::{SecretChange, SecretValue, WantedSecret};

/// Variables that Runvoy itself sets.
const RESERVED: [&str; 5] =
    ["RUNVOY_COMMAND", "RUNVOY_EXECUTION_ID", "RUNVOY_USER", "RUNVOY_LOCK_NAME", "RUNVOY_LOCK_TOKEN"];

/// A run that keeps every limit.
pub(crate) struct ValidRun {
    pub(crate) start: StartRequest,
    /// The command as a shell reads it.
    pub(crate) command: String,
    /// The lock it is to hold.
    pub(crate) lock: Option<LockUse>,
    /// The network it asks for.
    pub(crate) network: Option<String>,
    /// Hash of the canonical request, before anything is made of it that may change: the image that a name means.
    pub(crate) fingerprint: [u8; 32],
}

/// Checks a request; the error names the field, the limit and the value's size.
pub(crate) fn run(request: RunRequest, config: &Config, can: &Capabilities) -> Result<ValidRun, Error> {
    refuse_unsupported(&request, can)?;
    let code = code::wanted(&request)?;
    let command = command_line(request.command, request.args)?;
    check_env(&request.env)?;
    let max_grace = can.max_grace.unwrap_or(limits::MAX_GRACE);
    let grace = match request.grace {
        None => limits::DEFAULT_GRACE.min(max_grace),
        Some(seconds) => bounded("grace", seconds, 0, max_grace.as_secs())?,
    };
    let timeout = match request.timeout {
        None => config.default_timeout.min(config.max_timeout),
        Some(seconds) => bounded("timeout", seconds, 1, config.max_timeout.as_secs())?,
    };
    let stop_signal = match request.stop_signal {
        None => None,
        Some(name) => Some(name.parse::<StopSignal>().map_err(Error::parse("stop_signal"))?),
    };
    let lock = lock(request.lock.as_deref(), request.on_lock_held.as_deref(), request.max_wait)?;
    let mut secrets = secrets(&request.secrets)?;
    code::add_token(&mut secrets, code.as_ref());
    let asked = Asked {
        image: request.image.filter(|image| !image.is_empty()),
        secrets: at_most_secrets(secrets)?,
        ..Asked::default()
    };
    let network = request.network.filter(|network| !network.is_empty());
    let container = Container {
        cpu: request.cpu.map(|units| within("cpu", "units", units, limits::CPU_UNITS)).transpose()?,
        memory: request.memory.map(|mib| within("memory", "MiB", mib, limits::MEMORY_MIB)).transpose()?,
        ..Container::default()
    };
    let env = request.env;
    let start = StartRequest { command, env, timeout, grace, stop_signal, container, asked, code };
    let canonical = serde_json::to_vec(&(&start, &lock, &network)).map_err(|source| Error::Internal {
        what: "a request could not be written",
        source: Box::new(source),
    })?;
    let command = match &start.command {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Args(args) => quote::join(args),
    };
    at_most("args", command.len(), limits::QUOTED_COMMAND_BYTES)?;
    Ok(ValidRun { command, lock, network, fingerprint: Sha256::digest(&canonical).into(), start })
}

/// The secrets that a run names, each once.
fn secrets(names: &[String]) -> Result<Vec<WantedSecret>, Error> {
    let mut wanted = Vec::new();
    for name in names {
        let secret = WantedSecret::named(name.parse().map_err(Error::parse("secrets"))?);
        if !wanted.contains(&secret) {
            wanted.push(secret);
        }
    }
    Ok(wanted)
}

fn at_most_secrets(wanted: Vec<WantedSecret>) -> Result<Vec<WantedSecret>, Error> {
    if wanted.len() > limits::SECRETS {
        let (most, these) = (limits::SECRETS, wanted.len());
        return Err(Error::invalid("secrets", format!("at most {most}, these are {these}")));
    }
    Ok(wanted)
}

/// Says which two secrets of one run go into the same variable, if any do.
pub(crate) fn one_secret_each(
    variables: impl IntoIterator<Item = (String, SecretName)>,
) -> Result<(), String> {
    let mut known = BTreeMap::new();
    for (variable, name) in variables {
        if let Some(other) = known.insert(variable.clone(), name.clone()) {
            return Err(format!(
                "`{other}` and `{name}` both go into `{variable}`; name one of them, or change its key name"
            ));
        }
    }
    Ok(())
}

/// What a new secret is made of: its variable, what it is for, what it holds.
pub(crate) fn new_secret(request: &CreateSecretRequest) -> Result<(String, String, SecretValue), Error> {
    if request.value.is_empty() {
        return Err(Error::invalid("value", "is required"));
    }
    let description = request.description.clone().unwrap_or_default();
    Ok((key_name(&request.key_name)?, secret_text(description)?, secret_value(&request.value)?))
}

/// What is to be otherwise with a secret, put into `change`; what is empty counts as absent.
pub(crate) fn changed_secret(
    request: &UpdateSecretRequest,
    change: SecretChange,
) -> Result<SecretChange, Error> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(SecretChange {
        key_name: given(&request.key_name).map(|name| key_name(&name)).transpose()?,
        description: given(&request.description).map(secret_text).transpose()?,
        value: request.value.as_deref().filter(|text| !text.is_empty()).map(secret_value).transpose()?,
        ..change
    })
}

fn key_name(name: &str) -> Result<String, Error> {
    if name.len() > limits::NAME || !is_variable_name(name) {
        let most = limits::NAME;
        let message = format!("a variable's name has 1 to {most} letters, digits and `_`, no digit in front");
        return Err(Error::invalid("key_name", message));
    }
    if RESERVED.contains(&name) {
        return Err(Error::invalid("key_name", format!("`{name}` is set by Runvoy itself")));
    }
    Ok(name.to_owned())
}

fn secret_text(description: String) -> Result<String, Error> {
    at_most("description", description.len(), limits::SECRET_DESCRIPTION)?;
    Ok(description)
}

fn secret_value(value: &str) -> Result<SecretValue, Error> {
    at_most("value", value.len(), limits::SECRET_BYTES)?;
    if value.contains('\0') {
        return Err(Error::invalid("value", "must not contain a NUL byte"));
    }
    Ok(SecretValue::new(value))
}

fn lock(
    name: Option<&str>,
    when_held: Option<&str>,
    max_wait: Option<u64>,
) -> Result<Option<LockUse>, Error> {
    let when_held = match when_held {
        None | Some("fail") => WhenHeld::Fail,
        Some("queue") => WhenHeld::Queue,
        Some(_) => return Err(Error::invalid("on_lock_held", "is `fail` or `queue`")),
    };
    let max_wait = match max_wait {
        None => limits::DEFAULT_MAX_WAIT.as_secs(),
        Some(seconds) => bounded("max_wait", seconds, 1, limits::MAX_WAIT.as_secs())?.as_secs(),
    };
    let name = name.filter(|name| !name.is_empty()).map(str::parse::<LockName>).transpose();
    let name = name.map_err(Error::parse("lock"))?;
    Ok(name.map(|name| LockUse::wanted(name, when_held, max_wait)))
}

/// What this server cannot do is refused by name, never passed over.
fn refuse_unsupported(request: &RunRequest, can: &Capabilities) -> Result<(), Error> {
    let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
    let lacking = [
        (
            "git_repo",
            given(&request.git_repo) && !can.workspaces,
            "this server's executor checks no code out",
        ),
        ("code", given(&request.code) && !can.workspaces, "this server's executor unpacks no code"),
        ("cpu", request.cpu.is_some() && !can.resources, "this server's executor does not limit cpu"),
        (
            "memory",
            request.memory.is_some() && !can.resources,
            "this server's executor does not limit memory",
        ),
        (
            "network",
            given(&request.network) && !can.images,
            "this server's executor gives commands no network of their own",
        ),
    ];
    match lacking.into_iter().find(|(_, asked, _)| *asked) {
        Some((field, _, message)) => Err(Error::invalid(field, message)),
        None => Ok(()),
    }
}

/// What an image is registered with.
pub(crate) fn image(request: &RegisterImageRequest) -> Result<(ImageSettings, ImageChange), Error> {
    let limit = |field, unit, value: Option<u64>, usual, range| match value {
        None => Ok(usual),
        Some(0) => Ok(0),
        Some(value) => within(field, unit, value, range),
    };
    let role = |field, value: &Option<String>| match value.as_deref() {
        None | Some("") => Ok(None),
        Some(name) if is_visible(name, limits::NAME) => Ok(Some(name.to_owned())),
        Some(_) => Err(Error::invalid(field, format!("at most {} visible ASCII characters", limits::NAME))),
    };
    let platform = request.runtime_platform.as_deref();
    let platform = platform.filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case(DEFAULT_PLATFORM));
    let settings = ImageSettings {
        cpu: limit("cpu", "units", request.cpu, limits::IMAGE_CPU, limits::CPU_UNITS)?,
        memory: limit("memory", "MiB", request.memory, limits::IMAGE_MEMORY, limits::MEMORY_MIB)?,
        platform: platform.map(str::parse).transpose().map_err(Error::parse("runtime_platform"))?,
        task_role_name: role("task_role_name", &request.task_role_name)?,
        task_execution_role_name: role("task_execution_role_name", &request.task_execution_role_name)?,
    };
    Ok((settings, manner(request.is_default, &request.manner)?))
}

/// What is to be otherwise with an image.
pub(crate) fn image_change(request: &ChangeImageRequest) -> Result<ImageChange, Error> {
    manner(request.is_default, &request.manner)
}

fn manner(is_default: Option<bool>, request: &MannerRequest) -> Result<ImageChange, Error> {
    let MannerRequest { user, stop_signal, networks, read_only } = request;
    let name = |field, text: &str| {
        let message = || format!("at most {} visible ASCII characters", limits::NAME);
        if is_visible(text, limits::NAME) { Ok(()) } else { Err(Error::invalid(field, message())) }
    };
    if let Some(user) = user.as_deref().filter(|user| !user.is_empty()) {
        name("user", user)?;
    }
    if networks.as_ref().is_some_and(|networks| networks.len() > limits::IMAGE_NETWORKS) {
        return Err(Error::invalid("networks", format!("at most {}", limits::IMAGE_NETWORKS)));
    }
    networks.iter().flatten().try_for_each(|network| name("networks", network))?;
    let signal = stop_signal.as_deref().map(|text| match text {
        "" => Ok(None),
        text => text.parse::<StopSignal>().map(Some),
    });
    Ok(ImageChange {
        is_default,
        user: user.clone(),
        stop_signal: signal.transpose().map_err(Error::parse("stop_signal"))?,
        networks: networks.clone(),
        read_only: *read_only,
    })
}

fn is_visible(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn command_line(command: Option<String>, args: Option<Vec<String>>) -> Result<CommandLine, Error> {
    let (line, field, bytes) = match (command, args) {
        (Some(_), Some(_)) => return Err(Error::invalid("command", "give `command` or `args`, not both")),
        (Some(line), None) => {
            let bytes = line.len();
            (CommandLine::Shell(line), "command", bytes)
        }
        (None, Some(args)) => {
            let bytes = args.iter().map(|arg| arg.len() + 1).sum();
            (CommandLine::Args(args), "args", bytes)
        }
        (None, None) => return Err(Error::invalid("command", "is required")),
    };
    let (empty, nul) = match &line {
        CommandLine::Shell(line) => (line.trim().is_empty(), line.contains('\0')),
        CommandLine::Args(args) => {
            (args.first().is_none_or(String::is_empty), args.iter().any(|arg| arg.contains('\0')))
        }
    };
    if empty {
        return Err(Error::invalid(field, "must not be empty"));
    }
    if nul {
        return Err(Error::invalid(field, "must not contain a NUL byte"));
    }
    at_most(field, bytes, limits::COMMAND_BYTES)?;
    Ok(line)
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), Error> {
    if env.len() > limits::ENV_VARIABLES {
        let message = format!("at most {} variables, these are {}", limits::ENV_VARIABLES, env.len());
        return Err(Error::invalid("env", message));
    }
    at_most("env", env.iter().map(|(name, value)| name.len() + value.len()).sum(), limits::ENV_BYTES)?;
    for (name, value) in env {
        if !is_variable_name(name) {
            let shown: String = name.chars().take(40).collect();
            let message =
                format!("`{shown}` is no variable's name: letters, digits and `_`, no digit in front");
            return Err(Error::invalid("env", message));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(Error::invalid("env", format!("`{name}` is set by Runvoy itself")));
        }
        if value.contains('\0') {
            return Err(Error::invalid("env", format!("the value of `{name}` contains a NUL byte")));
        }
    }
    Ok(())
}

fn at_most(field: &'static str, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes > limit {
        return Err(Error::invalid(field, format!("at most {limit} bytes, these are {bytes}")));
    }
    Ok(())
}

fn bounded(field: &'static str, seconds: u64, least: u64, most: u64) -> Result<std::time::Duration, Error> {
    within(field, "seconds", seconds, least..=most).map(std::time::Duration::from_secs)
}

fn within(
    field: &'static str,
    unit: &str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Error> {
    if range.contains(&value) {
        return Ok(value);
    }
    let message = format!("{} to {} {unit}, this is {value}", range.start(), range.end());
    Err(Error::invalid(field, message))
}
