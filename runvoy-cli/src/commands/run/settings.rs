use std::path::PathBuf;
use std::time::Duration;

use runvoy_core::api::{Command, RunRequest};
use runvoy_core::id::RequestId;

use crate::args::{CommandArgs, OnLockHeld, RunOptions};
use crate::error::{CliError, Kind};
use crate::{quote, variables};

/// What an interrupt does to the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// It goes on.
    Detach,
    /// It is killed.
    Kill,
}

/// A run, put together.
#[derive(Clone, Debug)]
pub(crate) struct RunSettings {
    /// What is asked for.
    pub(crate) request: RunRequest,
    /// The directory to start in.
    pub(crate) upload: Option<PathBuf>,
    /// What makes it safe to ask twice.
    pub(crate) idempotency_key: String,
    /// What an interrupt does.
    pub(crate) on_interrupt: OnInterrupt,
}

impl RunSettings {
    /// From a command, the options and the caller's environment.
    pub(crate) fn new(
        options: &RunOptions,
        command: &CommandArgs,
        environment: &variables::Environment,
    ) -> Result<Self, CliError> {
        let words = &command.words;
        let command = if command.no_shell { Command::Args(words.clone()) } else { quote::shell(words)? };
        Self::over(RunRequest::new(command), options, environment)
    }

    /// From a request, with the options and the caller's environment over it.
    pub(crate) fn over(
        base: RunRequest,
        options: &RunOptions,
        environment: &variables::Environment,
    ) -> Result<Self, CliError> {
        // It takes the place of the repository that a playbook names.
        let base = if options.upload.is_some() { without_git(base) } else { base };
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let token = options.git_token_secret.as_ref().map(ToString::to_string);
        let secrets = options.secret.iter().map(ToString::to_string);
        let request = RunRequest {
            image: options.image.clone().or(base.image),
            env: variables::collect(base.env, &options.env_file, &options.env, environment)?,
            secrets: base.secrets.into_iter().chain(secrets).collect(),
            git_repo: options.git_repo.clone().or(base.git_repo),
            git_ref: options.git_ref.clone().or(base.git_ref),
            git_path: options.git_path.clone().or(base.git_path),
            git_token_secret: token.or(base.git_token_secret),
            timeout: seconds(options.timeout).or(base.timeout),
            grace: seconds(options.grace).or(base.grace),
            stop_signal: options.stop_signal.clone().or(base.stop_signal),
            lock: options.lock.as_ref().map(ToString::to_string).or(base.lock),
            on_lock_held: when_held(options).map(str::to_owned).or(base.on_lock_held),
            max_wait: seconds(options.max_wait).or(base.max_wait),
            cpu: options.cpu.or(base.cpu),
            memory: options.memory.or(base.memory),
            network: options.network.clone().or(base.network),
            ..base
        };
        let of_a_repository = [
            ("--git-ref", &request.git_ref),
            ("--git-path", &request.git_path),
            ("--git-token-secret", &request.git_token_secret),
        ];
        let given = of_a_repository.into_iter().find(|(_, value)| value.is_some());
        if let (None, Some((option, _))) = (&request.git_repo, given) {
            let what = format!("`{option}` belongs to a repository, and none is named");
            return Err(CliError::new(Kind::Usage, what).hint("name it with `--git-repo`"));
        }
        if request.lock.is_none() && (request.on_lock_held.is_some() || request.max_wait.is_some()) {
            let what = "there is no lock to wait for, or to be refused";
            return Err(CliError::new(Kind::Usage, what).hint("name one with `--lock`"));
        }
        let idempotency_key = RequestId::random().to_string();
        let upload = options.upload.clone();
        Ok(Self { request, upload, idempotency_key, on_interrupt: OnInterrupt::Detach })
    }
}

fn without_git(base: RunRequest) -> RunRequest {
    RunRequest { git_repo: None, git_ref: None, git_path: None, git_token_secret: None, ..base }
}

fn when_held(options: &RunOptions) -> Option<&'static str> {
    match (options.wait, options.on_lock_held) {
        (true, _) | (_, Some(OnLockHeld::Queue)) => Some("queue"),
        (false, Some(OnLockHeld::Fail)) => Some("fail"),
        (false, None) => None,
    }
}
