//! What every test of the binary needs: an environment of its own, and a server that does as it is told.

mod server;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) use server::{Answer, Server};

/// How long any run of the binary may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An environment without anything of the machine's: a home of its own, no variables.
pub(crate) struct TestEnv {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) bytes: Vec<u8>,
}

impl TestEnv {
    /// No server is configured.
    pub(crate) fn empty() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// A server is configured in the file.
    pub(crate) fn new(endpoint: &str) -> Self {
        let env = Self::empty();
        std::fs::create_dir(env.home().join(".runvoy")).unwrap();
        let text = format!("api_endpoint: {endpoint}\napi_key: the-key-of-this-test-0001\n");
        std::fs::write(env.config(), text).unwrap();
        env
    }

    /// Its home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.home().join(".runvoy/config.yaml")
    }

    /// Sets a variable.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The binary, ready to run, with all three streams as pipes or nothing.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runvoy"));
        command.env_clear().env("HOME", self.home()).current_dir(self.home()).args(args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args).spawn().unwrap())
    }

    /// Runs it with a pipe as standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // It may well end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        finish(child)
    }
}

/// Waits for its end; kills it and fails when that does not come.
pub(crate) fn finish(mut child: Child) -> Ran {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let read_out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.as_mut().map(|out| out.read_to_end(&mut bytes));
        bytes
    });
    let read_err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.as_mut().map(|err| err.read_to_end(&mut bytes));
        bytes
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("it did not end: {:?}", String::from_utf8_lossy(&read_err.join().unwrap()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let output = Output { status, stdout: read_out.join().unwrap(), stderr: read_err.join().unwrap() };
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        bytes: output.stdout,
    }
}
