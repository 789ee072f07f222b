//! What masking costs, and whether it takes something for a secret that is none.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use runvoy_task::{CommandLine, EndRecord, TaskSpec, layout};

use super::Setup;
use super::corpus::{self, BASE64, Dice, HEX};
use crate::Result;
use crate::figures::{Row, median};
use crate::server::Server;

const BYTES: u64 = 100_000_000;
/// The text is written so many times, so that a run takes a while.
const TIMES: usize = 5;
const SECRETS: usize = 20;

/// One run of the agent.
struct Run {
    /// Bytes a second.
    rate: f64,
    replacements: u64,
}

pub(super) fn mask(setup: &Setup) -> Result<Vec<Row>> {
    let home = setup.home()?;
    let agent = agent(setup, home.path())?;
    let mut file = BufWriter::new(File::create(home.path().join("corpus"))?);
    corpus::write(BYTES, &mut file)?;
    file.flush()?;
    // Pairs, one right after the other, for the machine is not as fast at all times; the pair in the middle counts.
    let mut pairs = Vec::new();
    for _ in 0..setup.rounds {
        pairs.push((run(&agent, home.path(), Vec::new())?, run(&agent, home.path(), secrets())?));
    }
    let replacements: u64 = pairs.iter().map(|(_, masked)| masked.replacements).sum();
    let middle = median(pairs, |(bare, masked)| masked.rate / bare.rate);
    let (bare, masked) = middle.map_or((0.0, 0.0), |(bare, masked)| (bare.rate, masked.rate));
    let row = Row {
        what: "100 MB of text and build logs, 20 secrets to mask",
        target: "80 % of the rate without secrets, no replacement",
        measured: format!("{:.0} MB/s, {replacements} replacements", masked / 1e6),
        reference: format!("without secrets {:.0} MB/s: {:.0} %", bare / 1e6, masked / bare * 100.0),
        command: "mask",
    };
    Ok(vec![row])
}

/// The agent that the server would use: it puts its own into the data directory.
fn agent(setup: &Setup, home: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("RUNVOY_AGENT") {
        return Ok(named.into());
    }
    Server::runvoy(&setup.runvoy, home)?.stop()?;
    let mut dirs = vec![home.join("data")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)?.flatten() {
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with("runvoy-agent-") {
                return Ok(entry.path());
            }
        }
    }
    let beside = setup.runvoy.with_file_name("runvoy-agent");
    if beside.is_file() { Ok(beside) } else { Err("there is no agent; name one in RUNVOY_AGENT".into()) }
}

/// Random values of 16 characters and more, as tokens and passwords are.
fn secrets() -> Vec<String> {
    let mut dice = Dice::new(7);
    let lengths = [16, 20, 24, 32, 40];
    let kinds = [BASE64, HEX].iter().flat_map(|alphabet| lengths.map(|length| (*alphabet, length)));
    kinds.cycle().take(SECRETS).map(|(alphabet, length)| dice.text(alphabet, length)).collect()
}

/// Runs `cat` under an agent and checks what it stored against what it says.
fn run(agent: &Path, home: &Path, mask: Vec<String>) -> Result<Run> {
    let dir = tempfile::tempdir_in(home)?;
    let mut words = vec!["/bin/cat".to_owned()];
    words.extend(std::iter::repeat_n("corpus".to_owned(), TIMES));
    let spec = spec(home, words, mask);
    let mut child = Command::new(agent).arg("supervise").arg(dir.path()).stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(&serde_json::to_vec(&spec)?)?;
    drop(input);
    child.wait()?;
    let end = EndRecord::from_json(&fs::read(dir.path().join(layout::END))?)?;
    if end.exit_code != Some(0) {
        return Err(format!("{:?}: {:?}", end.reason, end.message).into());
    }
    let took = end.phases.iter().find(|phase| phase.phase == "command").map_or(0, |phase| phase.ms);
    Ok(Run { rate: end.bytes as f64 / (took.max(1) as f64 / 1e3), replacements: end.replacements })
}

fn spec(home: &Path, words: Vec<String>, mask: Vec<String>) -> TaskSpec {
    TaskSpec {
        version: TaskSpec::VERSION,
        execution_id: "0".repeat(32),
        command: CommandLine::Args(words),
        env: [].into(),
        dotenv: [].into(),
        workdir: home.to_owned(),
        workspace: None,
        workspace_timeout_ms: TaskSpec::WORKSPACE_TIMEOUT_MS,
        run_as: None,
        user: None,
        timeout_ms: 600_000,
        grace_ms: 1000,
        stop_signal: "TERM".to_owned(),
        mask,
        log_limit: u64::MAX,
        segment_bytes: 64 << 20,
        max_processes: None,
        isolation: runvoy_task::Isolation::Auto,
    }
}
