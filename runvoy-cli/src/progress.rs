//! One line on a terminal that moves while something is awaited.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::duration;

/// Between two looks of the line.
const TICK: Duration = Duration::from_millis(100);
/// Its looks.
const FRAMES: [char; 8] = ['⠁', '⠉', '⠙', '⠚', '⠒', '⠲', '⠴', '⠤'];
/// Columns that stay free, so that what a terminal echoes (`^C`) does not move the line.
const FREE: usize = 4;
/// Takes the line back.
const WIPE: &str = "\r\x1b[2K";

/// The status line. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    since: Instant,
    is_shown: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    texts: mpsc::Sender<String>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Shows `text` where stderr is a terminal and `wanted` says so.
    pub(crate) fn new(text: &str, wanted: Wanted) -> Self {
        let is_shown = wanted == Wanted::Yes && io::stderr().is_terminal();
        let mut progress = Self { since: Instant::now(), is_shown, running: None };
        progress.set(text);
        progress
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Shows something else, or shows it again.
    pub(crate) fn set(&mut self, text: &str) {
        match &self.running {
            Some(running) => _ = running.texts.send(text.to_owned()),
            None if self.is_shown => self.running = Running::start(text.to_owned(), self.since),
            None => {}
        }
    }

    /// Wipes the line, before anything else is printed.
    pub(crate) fn clear(&mut self) {
        if let Some(Running { texts, thread }) = self.running.take() {
            drop(texts);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether the caller wants to see a status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// They do.
    Yes,
    /// They do not.
    No,
}

impl Running {
    /// Draws from a thread of its own; without one there is no line.
    fn start(text: String, since: Instant) -> Option<Self> {
        let (texts, received) = mpsc::channel();
        let thread = thread::Builder::new().name("progress".into());
        let thread = thread.spawn(move || draw(text, since, &received)).ok()?;
        Some(Self { texts, thread })
    }
}

/// Until the sender is gone.
fn draw(mut text: String, since: Instant, texts: &mpsc::Receiver<String>) {
    for frame in FRAMES.iter().cycle() {
        let line = format!("{frame} {text} {}", duration::show(since.elapsed().as_secs()));
        let columns = console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
        print(&format!("{WIPE}{}", console::truncate_str(&line, columns.saturating_sub(FREE), "…")));
        match texts.recv_timeout(TICK) {
            Ok(next) => text = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    print(WIPE);
}

fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is nobody left to tell.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
