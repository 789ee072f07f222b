//! `runvoy run`: start, stream, exit as the command did.

mod settings;

use std::io::IsTerminal as _;
use std::time::Duration;

use runvoy_core::api::{EndData, RunAnswer, RunRequest, StatusData};
use runvoy_core::id::ExecutionId;
use runvoy_core::state::Status;

pub(crate) use settings::{OnInterrupt, RunSettings};

use super::Context;
use super::status::queued;
use crate::args::{RunArgs, RunManner};
use crate::client::Client;
use crate::client::stream::{FirstTry, Follow, FollowOptions, Format, Item};
use crate::error::{CliError, Kind};
use crate::outcome::Ending;
use crate::output::{Chunk, Output};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{exit, upload};

/// How long leaving waits for the server to agree to a kill.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The command.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<u8, CliError> {
    let settings = RunSettings::new(&args.options, &args.command, &std::env::vars_os().collect())?;
    go(context, settings, &args.manner).await
}

/// Runs what was put together, as the caller wants to go about it.
pub(crate) async fn go(
    context: &Context,
    mut settings: RunSettings,
    manner: &RunManner,
) -> Result<u8, CliError> {
    if manner.stop_on_interrupt {
        settings.on_interrupt = OnInterrupt::Kill;
    }
    if let Some(key) = &manner.idempotency_key {
        settings.idempotency_key.clone_from(key);
    }
    let client = context.client()?;
    upload::bring(&client, settings.upload.as_ref(), &mut settings.request, context.printer).await?;
    if manner.detach {
        let answer = client.run(&settings.request, &settings.idempotency_key).await?;
        let id = answer.value.execution_id;
        warn_of_image(context.printer, &settings.request, &answer.value);
        let told = || format!("{id} goes on: `runvoy logs -f {}` follows it", Short(id));
        let printed = context.printer.data_line(&id.to_string());
        printed.map_err(|error| context.printer.unwritten(error, &told()))?;
        return Ok(exit::OK);
    }
    execute(&client, &settings, context.printer).await
}

/// Runs to the end over any client; answers the exit code.
pub(crate) async fn execute(
    client: &Client,
    settings: &RunSettings,
    printer: Printer,
) -> Result<u8, CliError> {
    if stdin_is_a_pipe() {
        printer.note("note: standard input is not sent to the command");
    }
    let mut signals = Signals::catch()?;
    let mut progress = printer.progress("starting");
    let answer = tokio::select! {
        answer = client.run(&settings.request, &settings.idempotency_key) => answer?.value,
        () = signals.next() => {
            progress.clear();
            return Err(CliError::new(Kind::Interrupted, "interrupted before the server had answered")
                .hint("`runvoy list` shows whether the command was accepted"));
        }
    };
    let id = answer.execution_id;
    if settings.request.image.is_some() && answer.image_id.is_empty() {
        progress.clear();
        warn_of_image(printer, &settings.request, &answer);
    }
    let status = StatusData {
        status: answer.status,
        status_reason: None,
        phase: None,
        detail: None,
        position: answer.position,
        holder: answer.holder,
    };
    let options = FollowOptions { format: Format::Blocks, tail: None, first_try: FirstTry::Repeats };
    let mut session = Session {
        client,
        id,
        printer,
        progress,
        signals,
        output: Output::open()?,
        follow: Follow::new(client, id, options),
        on_interrupt: settings.on_interrupt,
        is_queued: false,
        is_told: false,
    };
    session.status(&status);
    session.stream().await
}

/// An image that was asked for and has no meaning there.
fn warn_of_image(printer: Printer, request: &RunRequest, answer: &RunAnswer) {
    if let Some(image) = request.image.as_deref().filter(|_| answer.image_id.is_empty()) {
        printer.warn(&format!("the server runs commands without images; `{image}` is not used"));
    }
}

/// The first digits of an id, as people see it.
pub(crate) struct Short(pub(crate) ExecutionId);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.8}", self.0.to_string())
    }
}

struct Session<'a> {
    client: &'a Client,
    id: ExecutionId,
    printer: Printer,
    progress: Progress,
    signals: Signals,
    output: Output,
    follow: Follow<'a>,
    on_interrupt: OnInterrupt,
    /// It waits in line for its lock.
    is_queued: bool,
    /// Whoever has no terminal has been told that it waits.
    is_told: bool,
}

/// What an execution that has not begun is about.
fn in_words(id: ExecutionId, status: &StatusData) -> String {
    let place = status.position.map(|position| queued(position, status.holder.as_ref()));
    let more = place.or_else(|| status.detail.clone());
    let more = more.map_or_else(String::new, |more| format!(": {more}"));
    let state = status.phase.clone().unwrap_or_else(|| status.status.as_str().to_lowercase());
    format!("{} {state}{more}", Short(id))
}

impl Session<'_> {
    async fn stream(mut self) -> Result<u8, CliError> {
        let mut pending: Option<Chunk> = None;
        let mut interrupted = None;
        loop {
            tokio::select! {
                biased;
                () = self.signals.next() => {
                    self.progress.clear();
                    let detaches = self.on_interrupt == OnInterrupt::Detach && !self.is_queued;
                    if interrupted.is_some() || detaches {
                        return Ok(self.leave(interrupted.is_some()));
                    }
                    interrupted = Some(self.is_queued);
                    let what = if self.is_queued { "leaving the line with" } else { "killing" };
                    self.printer.note(&format!("{what} {}; interrupt again to leave at once", Short(self.id)));
                    self.kill_while_listening().await?;
                }
                ready = self.output.ready(pending.is_some()) => match ready {
                    Ok(()) => pending.take().into_iter().for_each(|chunk| self.output.push(chunk)),
                    Err(error) => return self.output_gone(error, interrupted.is_some()).await,
                },
                item = self.follow.next(), if pending.is_none() => match item.map_err(|e| self.lost_sight(e))? {
                    Item::Block(block) => {
                        self.progress.clear();
                        pending = Some(Chunk { stream: block.stream, bytes: block.bytes });
                    }
                    Item::End(end) => return self.end(&end, interrupted).await,
                    item => self.tell(item),
                },
            }
        }
    }

    /// What is not output.
    fn tell(&mut self, item: Item) {
        match item {
            Item::Status(status) => self.status(&status),
            Item::Gap(gap) => {
                self.progress.clear();
                self.printer.warn(&format!("{} log lines are missing here", gap.to.saturating_sub(gap.from)));
            }
            Item::Lost => {
                self.progress.clear();
                self.printer.note("note: the connection was lost; going on from the last line");
            }
            Item::Block(_) | Item::Line(_) | Item::End(_) => {}
        }
    }

    fn status(&mut self, status: &StatusData) {
        self.is_queued = status.status == Status::Queued;
        match status.status {
            Status::Queued | Status::Starting => self.progress.set(&in_words(self.id, status)),
            _ => self.progress.clear(),
        }
        if self.is_queued && !self.progress.is_shown() && !std::mem::replace(&mut self.is_told, true) {
            self.printer.note(&format!("note: {}", in_words(self.id, status)));
        }
    }

    async fn end(mut self, end: &EndData, interrupted: Option<bool>) -> Result<u8, CliError> {
        self.progress.clear();
        let (client, id) = (self.client, self.id);
        tokio::select! {
            closed = self.output.close() => closed.map_err(|error| output_lost(error, client, id))?,
            () = self.signals.next() => {
                let id = Short(self.id);
                let rest = format!("interrupted; {id} has ended, and `runvoy logs {id}` has all of its output");
                self.printer.verdict(&rest);
                return Ok(exit::INTERRUPTED);
            }
        }
        if !end.complete {
            self.printer.warn("the log is incomplete: some of the command's output may be missing");
        }
        let verdict = Ending::from(end).verdict();
        if let Some(in_line) = interrupted {
            let id = Short(self.id);
            let never_ran = in_line && end.exit_code.is_none();
            self.printer.verdict(&if never_ran {
                format!("interrupted; {id} has left the line and does not run")
            } else {
                format!("interrupted; {id} is stopped")
            });
            return Ok(exit::INTERRUPTED);
        }
        if let Some(line) = &verdict.line {
            let more = format!("; `runvoy status {}` shows more", Short(self.id));
            let more = if self.client.is_in_process() { "" } else { &more };
            self.printer.verdict(&format!("runvoy: {line}{more}"));
        }
        Ok(verdict.code)
    }

    /// Leaves the execution alone, or to the kill that was asked for.
    fn leave(&self, killing: bool) -> u8 {
        let id = Short(self.id);
        self.printer.verdict(&if killing && self.client.is_in_process() {
            format!("left; {id} is being killed, and is gone once its grace is over")
        } else if killing {
            format!("left; {id} is being killed, `runvoy wait {id}` waits for it")
        } else {
            format!("detached; {id} goes on: `runvoy logs -f {id}` follows it, `runvoy kill {id}` stops it")
        });
        exit::INTERRUPTED
    }

    /// Kills; another interrupt does not wait for the answer.
    async fn kill_while_listening(&mut self) -> Result<(), CliError> {
        tokio::select! {
            killed = self.client.kill(self.id, None) => {
                let id = Short(self.id);
                killed.map(|_| ()).map_err(|error| error.hint(format!("{id} goes on: run `runvoy kill {id}`")))
            }
            () = self.signals.next() => {
                let what = "interrupted before the server had agreed to the kill";
                let hint = format!("run `runvoy kill {}`", Short(self.id));
                Err(CliError::new(Kind::Interrupted, what).hint(hint))
            }
        }
    }

    /// Does to the execution what SIGPIPE would do to a command here, if nobody reads any more. What cannot be written
    /// for another reason can be read later: the execution goes on, unless its server ends with this process.
    async fn output_gone(mut self, error: CliError, is_stopping: bool) -> Result<u8, CliError> {
        self.progress.clear();
        let id = Short(self.id);
        let is_unread = error.kind == Kind::PipeClosed;
        if !is_unread && !self.client.is_in_process() {
            return Err(error.hint(if is_stopping {
                format!("{id} is being stopped, and `runvoy logs {id}` has its output")
            } else {
                format!("{id} goes on: `runvoy logs -f {id}` follows it, `runvoy kill {id}` stops it")
            }));
        }
        let why = if is_unread { "nobody reads the output" } else { "the output cannot be written" };
        let killed = tokio::time::timeout(KILL_PATIENCE, self.client.kill(self.id, None)).await;
        self.printer.verdict(&if matches!(killed, Ok(Ok(_))) {
            format!("runvoy: {why}; {id} is being stopped")
        } else {
            format!("runvoy: {why}, and {id} could not be stopped: run `runvoy kill {id}`")
        });
        if is_unread { Ok(exit::PIPE_CLOSED) } else { Err(error) }
    }

    /// The log cannot be followed; the execution is not affected.
    fn lost_sight(&mut self, error: CliError) -> CliError {
        self.progress.clear();
        let id = Short(self.id);
        let hint = format!("{id} goes on: `runvoy logs -f {id}` follows it");
        error.hint(hint)
    }
}

/// The last of the output could not be written. Of a server that ends with this process nothing can be had later.
fn output_lost(error: CliError, client: &Client, id: ExecutionId) -> CliError {
    if error.kind == Kind::PipeClosed || client.is_in_process() {
        return error;
    }
    let id = Short(id);
    error.hint(format!("{id} has ended, and `runvoy logs {id}` has all of its output"))
}

#[cfg(unix)]
fn stdin_is_a_pipe() -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileTypeExt as _;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return false;
    }
    let file = stdin.as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(not(unix))]
fn stdin_is_a_pipe() -> bool {
    !std::io::stdin().is_terminal()
}
