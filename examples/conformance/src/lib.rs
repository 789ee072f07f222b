//! How do I write a port of my own, and know that it is right?
//!
//! Here an audit log in a file of JSON lines. That it keeps the contract of [`AuditLog`] is not claimed but tested:
//! `tests/suite.rs` applies to it the suite that Runvoy's own audit logs have to pass.
//!
//! ```sh
//! cargo test -p example-conformance
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use runvoy_core::audit::{self, AuditRecord, Checkpoint, Head};
use runvoy_core::port::{AuditEvent, AuditLog, StoreError};
use serde::{Deserialize, Serialize};

/// An audit log of one process in a file: a record or a checkpoint a line, the newest last.
#[derive(Clone, Debug)]
pub struct JsonLines(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    head: Head,
}

/// What stands in a line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Record(AuditRecord),
    Checkpoint(Checkpoint),
}

impl JsonLines {
    /// Opens the file, or creates it. A line that a crash tore was never acknowledged, and is cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let (mut head, mut length, mut line) = (Head::default(), 0, String::new());
        let mut reader = BufReader::new(&mut file);
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            length += line.len() as u64;
            if let Line::Record(record) = serde_json::from_str(&line)? {
                head = record.head();
            }
            line.clear();
        }
        file.set_len(length)?;
        Ok(Self(Arc::new(Mutex::new(Inner { file, head }))))
    }

    /// Does something with the file where waiting for the disk holds nobody up.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
    }
}

impl Inner {
    fn append(&mut self, body: &str) -> io::Result<u64> {
        let record = AuditRecord::after(&self.head, body);
        let head = record.head();
        self.write(&Line::Record(record))?;
        self.head = head;
        Ok(self.head.seq)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let length = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line must not stay in front of the next one.
            self.file.set_len(length)?;
            return Err(error);
        }
        Ok(())
    }

    /// What `pick` takes of the lines, at most `limit`.
    fn read<T>(&mut self, limit: usize, pick: impl Fn(Line) -> Option<T>) -> io::Result<Vec<T>> {
        self.file.rewind()?;
        let lines = BufReader::new(&mut self.file).lines();
        let parsed = lines.map(|line| Ok(serde_json::from_str(&line?)?));
        parsed.filter_map(|line: io::Result<Line>| line.map(&pick).transpose()).take(limit).collect()
    }
}

#[async_trait]
impl AuditLog for JsonLines {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        let body = audit::body(&event).map_err(StoreError::unavailable)?;
        self.with(move |inner| inner.append(&body)).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let pick = move |line| match line {
            Line::Record(record) if record.seq > after => Some(record),
            _ => None,
        };
        self.with(move |inner| inner.read(limit, pick)).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.with(|inner| Ok(inner.head.clone())).await
    }

    async fn add_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let line = Line::Checkpoint(checkpoint.clone());
        self.with(move |inner| inner.write(&line)).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let pick = |line| match line {
            Line::Checkpoint(checkpoint) => Some(checkpoint),
            Line::Record(_) => None,
        };
        self.with(move |inner| inner.read(usize::MAX, pick)).await
    }
}
