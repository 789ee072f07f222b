//! A command's bytes on their way out, in a thread of their own: a reader that dawdles blocks no signal.

use std::io::{self, Write};
use std::thread;

use runvoy_core::log::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::error::CliError;
use crate::printer::output_error;

/// Blocks under way; a slow reader slows the follower down instead of filling memory.
const QUEUE: usize = 16;

/// Bytes for one of our outputs.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Which.
    pub(crate) stream: Stream,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

/// The way out.
#[derive(Debug)]
pub(crate) struct Output {
    queue: mpsc::Sender<Chunk>,
    failure: Failure,
}

#[derive(Debug)]
struct Failure {
    done: oneshot::Receiver<io::Result<()>>,
    reader: Reader,
}

impl Output {
    /// Opens it.
    pub(crate) fn open() -> Result<Self, CliError> {
        let (queue, chunks) = mpsc::channel(QUEUE);
        let (tell, done) = oneshot::channel();
        let writer = thread::Builder::new().name("output".into());
        let started = writer.spawn(move || {
            let result = write_all(chunks);
            let _ = tell.send(result);
        });
        started.map_err(|e| output_error(&e))?;
        Ok(Self { queue, failure: Failure { done, reader: Reader::of_stdout() } })
    }

    /// Waits for room if it is wanted, and for a failure in any case. May be dropped and called again.
    pub(crate) async fn ready(&mut self, room_wanted: bool) -> Result<(), CliError> {
        tokio::select! {
            biased;
            error = self.failure.wait() => Err(error),
            Ok(_) = self.queue.reserve(), if room_wanted => Ok(()),
        }
    }

    /// Waits until stdout cannot be written, or nobody reads it any more. May be dropped and called again.
    pub(crate) async fn failed(&mut self) -> CliError {
        self.failure.wait().await
    }

    /// Puts a chunk on its way, after [`Self::ready`] with room.
    pub(crate) fn push(&self, chunk: Chunk) {
        let _ = self.queue.try_send(chunk);
    }

    /// Puts a chunk on its way, when there is room.
    pub(crate) async fn write(&mut self, chunk: Chunk) -> Result<(), CliError> {
        if self.queue.send(chunk).await.is_err() {
            return Err(self.failure.wait().await);
        }
        Ok(())
    }

    /// Waits until everything is out.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        let Self { queue, failure } = self;
        drop(queue);
        match failure.done.await {
            Ok(Err(e)) => Err(output_error(&e)),
            _ => Ok(()),
        }
    }
}

impl Failure {
    async fn wait(&mut self) -> CliError {
        tokio::select! {
            done = &mut self.done => match done {
                Ok(Err(e)) => output_error(&e),
                // The thread ends without an error only after the queue was closed.
                _ => std::future::pending().await,
            },
            () = self.reader.gone() => CliError::pipe_closed(),
        }
    }
}

/// Between two looks whether anybody still waits for the news.
#[cfg(unix)]
const LOOK: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };

/// The other end of stdout, where that is a pipe: a command that says nothing would not notice that it is closed.
#[derive(Debug)]
struct Reader(Option<oneshot::Receiver<()>>);

impl Reader {
    /// Watches it from a thread of its own; without one, the next write tells.
    fn of_stdout() -> Self {
        let (tell, gone) = oneshot::channel();
        #[cfg(unix)]
        let _ = thread::Builder::new().name("reader".into()).spawn(move || watch(tell));
        #[cfg(not(unix))]
        drop(tell);
        Self(Some(gone))
    }

    /// Waits until it is closed.
    async fn gone(&mut self) {
        if let Some(gone) = &mut self.0 {
            let told = gone.await;
            self.0 = None;
            if told.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Until the pipe has no reader, or nobody waits to be told.
#[cfg(unix)]
fn watch(tell: oneshot::Sender<()>) {
    use rustix::event::{PollFd, PollFlags, poll};
    use std::os::unix::fs::FileTypeExt as _;
    let is_pipe = |file: &std::fs::File| file.metadata().is_ok_and(|data| data.file_type().is_fifo());
    let Some(stdout) = raw_stdout().ok().filter(is_pipe) else { return };
    while !tell.is_closed() {
        // Errors and hangups are told unasked.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let _ = tell.send(());
                return;
            }
            Err(_) => return,
        }
    }
}

fn write_all(mut chunks: mpsc::Receiver<Chunk>) -> io::Result<()> {
    let (mut stdout, mut stderr) = (raw_stdout()?, io::stderr());
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk.stream {
            Stream::Stdout => stdout.write_all(&chunk.bytes)?,
            // Like any command, we go on when nobody reads our complaints.
            Stream::Stderr => _ = stderr.write_all(&chunk.bytes),
        }
    }
    stdout.flush()
}

/// Stdout without a buffer: one write a block, and a prompt without a newline shows at once.
#[cfg(unix)]
fn raw_stdout() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn raw_stdout() -> io::Result<impl Write> {
    struct Flushing(io::Stdout);
    impl Write for Flushing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = self.0.write(bytes)?;
            self.0.flush().map(|()| written)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    Ok(Flushing(io::stdout()))
}
