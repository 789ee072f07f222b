//! The threads that own the connections.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::error::Failure;

/// Most operations of one commit.
const BATCH: usize = 512;
/// Most operations that wait; who comes then waits to be let in.
const WAITING: usize = 1024;

/// What [`open`](super::open) opened.
pub(super) struct Files {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) lock: File,
}

type Reading = Box<dyn FnOnce(&Connection) + Send>;
type Queue<J> = Option<mpsc::Sender<J>>;

/// One thread that writes and some that read. Dropping it ends them, once they have done what waits.
pub(super) struct Database {
    writing: Queue<Box<dyn Job>>,
    reading: Queue<Reading>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    _lock: File,
}

impl Database {
    pub(super) fn start(files: Files) -> io::Result<Self> {
        let Files { writer, readers, lock } = files;
        let (writing, jobs) = mpsc::channel(WAITING);
        let (reading, readings) = mpsc::channel(WAITING);
        let readings = Arc::new(Mutex::new(readings));
        // A thread that does not start drops the queues, and so ends those that did.
        let writer = spawn("sqlite-write", move || write_all(&writer, jobs))?;
        let readers = readers.into_iter().map(|connection| {
            let readings = Arc::clone(&readings);
            spawn("sqlite-read", move || read_all(&connection, &readings))
        });
        let readers = readers.collect::<io::Result<_>>()?;
        Ok(Self {
            writing: Some(writing),
            reading: Some(reading),
            writer: Some(writer),
            readers,
            _lock: lock,
        })
    }

    /// Does `operation` in the next commit, alone or not at all; answers after the commit.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write_then(operation, |_| ()).await
    }

    /// The same; `then` sees the result after the commit and before anybody is answered, also if nobody waits.
    pub(super) async fn write_then<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Write { operation: Some(operation), then, outcome: None, answer };
        let queue = self.writing.as_ref().ok_or(Failure::Closed)?;
        queue.send(Box::new(job)).await.map_err(|_| Failure::Closed)?;
        answered.await.map_err(|_| Failure::Closed)?
    }

    /// Does `operation` on a reading connection: it sees every commit that was answered before.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        let reading: Reading = Box::new(move |connection| {
            // Nobody may wait any more.
            let _ = answer.send(operation(connection));
        });
        let queue = self.reading.as_ref().ok_or(Failure::Closed)?;
        queue.send(reading).await.map_err(|_| Failure::Closed)?;
        answered.await.map_err(|_| Failure::Panicked)?
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.reading = None;
        self.readers.drain(..).for_each(join);
        // The writer closes last: that folds the write-ahead log into the file, which a reader cannot.
        self.writing = None;
        self.writer.take().into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the database panicked");
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn read_all(connection: &Connection, readings: &Mutex<mpsc::Receiver<Reading>>) {
    loop {
        // The lock is the turn to wait: whoever got something to do passes it on.
        let reading = readings.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(reading) = reading else { return };
        if catch_unwind(AssertUnwindSafe(|| reading(connection))).is_err() {
            tracing::error!("a read of the database panicked");
        }
    }
}

fn write_all(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = Vec::new();
        let committed = commit(connection, first, &mut jobs, &mut batch).map_err(|error| {
            tracing::error!(%error, operations = batch.len(), "a commit failed");
            Arc::new(error)
        });
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a failed commit could not be rolled back");
        }
        for job in batch {
            job.settle(committed.as_ref().copied());
        }
    }
}

/// One transaction over `first` and what else waits. `batch` then holds all that took part.
fn commit(
    connection: &Connection,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    batch: &mut Vec<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    let begun = execute(connection, "BEGIN IMMEDIATE");
    let mut next = Some(first);
    let mut result = begun;
    while let Some(mut job) = next.take() {
        if result.is_ok() {
            result = attempt(connection, job.as_mut());
        }
        batch.push(job);
        if result.is_ok() && batch.len() < BATCH {
            next = jobs.try_recv().ok();
        }
    }
    result.and_then(|()| execute(connection, "COMMIT"))
}

/// Runs one job so that its failure undoes it alone. An error means that all of the transaction is lost.
fn attempt(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT job")?;
    let done = catch_unwind(AssertUnwindSafe(|| job.run(connection))).unwrap_or_else(|_| {
        tracing::error!("an operation on the database panicked; it is undone");
        false
    });
    if connection.is_autocommit() {
        // A full disk and the like: SQLite has rolled back by itself.
        let message = "another operation of the same commit failed, and all of it was undone";
        let code = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
        return Err(rusqlite::Error::SqliteFailure(code, Some(message.to_owned())));
    }
    if !done {
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// An operation of a commit.
trait Job: Send {
    /// Does it, and says whether to keep what it did.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Answers, once the commit is done or has failed.
    fn settle(self: Box<Self>, committed: Result<(), &Arc<rusqlite::Error>>);
}

struct Write<T, O, U> {
    operation: Option<O>,
    then: U,
    outcome: Option<Result<T, Failure>>,
    answer: oneshot::Sender<Result<T, Failure>>,
}

impl<T, O, U> Job for Write<T, O, U>
where
    T: Send,
    O: FnOnce(&Connection) -> Result<T, Failure> + Send,
    U: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.operation.take().map(|operation| operation(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn settle(self: Box<Self>, committed: Result<(), &Arc<rusqlite::Error>>) {
        let Self { then, outcome, answer, operation } = *self;
        let result = match (outcome, committed) {
            // A failure of its own says more than that of the commit.
            (Some(Err(failure)), _) => Err(failure),
            (Some(Ok(_)), Err(error)) => Err(Failure::Commit(Arc::clone(error))),
            (None, Err(error)) if operation.is_some() => Err(Failure::Commit(Arc::clone(error))),
            (None, _) => Err(Failure::Panicked),
            (Some(Ok(value)), Ok(())) => {
                then(&value);
                Ok(value)
            }
        };
        // Nobody may wait any more.
        let _ = answer.send(result);
    }
}
