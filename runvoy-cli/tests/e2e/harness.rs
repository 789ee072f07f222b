//! A server in a directory of its own, and clients that know nothing of the machine they run on.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const KEY: &str = "an-admin-key-for-tests-only";

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The command, with nothing of this machine's environment but `PATH`.
pub(crate) fn runvoy(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runvoy"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    if let Some(agent) = std::env::var_os("RUNVOY_AGENT") {
        command.env("RUNVOY_AGENT", agent);
    }
    // What a machine happens to have must make no difference.
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    command.current_dir(home).stdin(Stdio::null());
    command
}

pub(crate) struct Server {
    pub(crate) dir: TempDir,
    child: Option<Child>,
    pub(crate) endpoint: String,
    /// The engine whose containers commands run in; `None` for processes.
    engine: Option<String>,
    options: Vec<String>,
    env: Vec<(String, String)>,
}

impl Server {
    /// A server over an empty directory, on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with containers of an engine.
    pub(crate) fn with_engine(engine: String) -> Self {
        let mut server = Self::new(&["--default-image", "runvoy-test/busybox"]);
        server.engine = Some(engine);
        server.start_on("127.0.0.1:0");
        server
    }

    /// The same with more of an environment, and with containers where there is an engine for them.
    pub(crate) fn start_in(env: &[(&str, &str)], engine: Option<String>) -> Self {
        let mut server = Self::new(&["--default-image", "runvoy-test/busybox"]);
        server.env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        server.engine = engine;
        server.start_on("127.0.0.1:0");
        server
    }

    /// The same with more options of `local serve`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut server = Self::new(options);
        server.start_on("127.0.0.1:0");
        server
    }

    /// The same with policies of its own, from [`Self::policies`]; they can be written later too.
    pub(crate) fn start_with_policies(files: &[(&str, &str)]) -> Self {
        Self::start_with_both(files, &[])
    }

    /// The same with policies and options.
    pub(crate) fn start_with_both(files: &[(&str, &str)], options: &[&str]) -> Self {
        let mut server = Self::new(options);
        std::fs::create_dir(server.policies()).unwrap();
        for (name, text) in files {
            std::fs::write(server.policies().join(name), text).unwrap();
        }
        server.start_on("127.0.0.1:0");
        server
    }

    fn new(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { dir, child: None, endpoint: String::new(), engine: None, options, env: Vec::new() }
    }

    /// Where the engine is whose containers commands run in.
    pub(crate) fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// Registers an image.
    pub(crate) fn register(&self, image: &str) {
        let registered = self.run(&["images", "register", image]);
        assert_eq!(registered.status.code(), Some(0), "{}", stderr(&registered));
    }

    pub(crate) fn policies(&self) -> PathBuf {
        self.dir.path().join("policies")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn start_on(&mut self, listen: &str) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("server.log"))
            .unwrap();
        let mut serve = runvoy(self.dir.path());
        let executor = match &self.engine {
            Some(engine) => {
                serve.env("DOCKER_HOST", engine);
                "auto"
            }
            None => "process",
        };
        serve
            .args(["local", "serve", "--executor", executor, "--listen", listen, "--data-dir"])
            .arg(self.data_dir())
            .args(&self.options);
        if self.policies().exists() {
            serve.arg("--policies").arg(self.policies());
        }
        serve.envs(self.env.iter().cloned());
        serve.env("OF_THE_ADMIN", "for-nobody-else").env("FOR_ALL", "shared").args(["--pass-env", "FOR_ALL"]);
        let mut child =
            serve.env("RUNVOY_ADMIN_API_KEY", KEY).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        assert!(line.starts_with("http://127.0.0.1:"), "the server said {line:?}; its log: {}", self.log());
        self.endpoint = line.trim_end().to_owned();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// kill -9.
    pub(crate) fn crash(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The next one has processes.
    pub(crate) fn without_engine(&mut self) {
        self.engine = None;
    }

    /// On the port it had.
    pub(crate) fn restart(&mut self) {
        let listen = self.endpoint.strip_prefix("http://").unwrap().to_owned();
        self.start_on(&listen);
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        self.until_gone()
    }

    /// Waits until it has ended, of a signal that it was sent.
    pub(crate) fn until_gone(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// A client that is configured for this server by its environment.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = runvoy(self.dir.path());
        command.env("RUNVOY_API_ENDPOINT", &self.endpoint).env("RUNVOY_API_KEY", KEY).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.client(args).output().unwrap()
    }

    /// Starts a command without waiting for it; its id.
    pub(crate) fn detach(&self, command: &str) -> String {
        let output = self.run(&["run", "--detach", "--", command]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    pub(crate) fn record(&self, id: &str) -> Value {
        let output = self.run(&["status", id, "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The record of an execution once it has ended.
    pub(crate) fn ended(&self, id: &str) -> Value {
        let output = self.run(&["wait", id, "--timeout", "60"]);
        assert_ne!(output.status.code(), Some(75), "{}", stderr(&output));
        self.record(id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client whose output is read while it runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    pieces: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (send, pieces) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, pieces, seen: Vec::new() }
    }

    /// Waits until standard output holds `text`.
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.seen.extend(piece),
                Err(error) => panic!("{error} before {text:?}: {:?}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    /// The exit code, standard output and standard error, once it has ended.
    pub(crate) fn finish(mut self) -> (Option<i32>, Vec<u8>, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = self.child.wait().unwrap();
        self.seen.extend(self.pieces.iter().flatten());
        (status.code(), self.seen, err)
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Looks until `holds` does; there is nothing else to wait on.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that have `marker` in their environment.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        environment.windows(marker.len()).any(|part| part == marker.as_bytes()).then_some(pid)
    });
    processes.collect()
}
