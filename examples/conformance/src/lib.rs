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
use runvoy_core::port::{AuditEvent, AuditLog, AuditRecord, StoreError};

/// An audit log of one process in a file: a record a line, the newest last.
#[derive(Clone, Debug)]
pub struct JsonLines(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// Number of the last record.
    last: u64,
}

impl JsonLines {
    /// Opens the file, or creates it. A line that a crash tore was never acknowledged, and is cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let (mut last, mut length, mut line) = (0, 0, String::new());
        let mut reader = BufReader::new(&mut file);
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            length += line.len() as u64;
            last += 1;
            line.clear();
        }
        file.set_len(length)?;
        Ok(Self(Arc::new(Mutex::new(Inner { file, last }))))
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
    fn append(&mut self, event: AuditEvent) -> io::Result<u64> {
        let seq = self.last + 1;
        let mut line = serde_json::to_vec(&AuditRecord { seq, event })?;
        line.push(b'\n');
        let length = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line must not stay in front of the next one.
            self.file.set_len(length)?;
            return Err(error);
        }
        self.last = seq;
        Ok(seq)
    }

    fn read(&mut self, after: u64, limit: usize) -> io::Result<Vec<AuditRecord>> {
        self.file.rewind()?;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let lines = BufReader::new(&mut self.file).lines().skip(skip).take(limit);
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    }
}

#[async_trait]
impl AuditLog for JsonLines {
    async fn append(&self, event: AuditEvent) -> Result<u64, StoreError> {
        self.with(|inner| inner.append(event)).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.with(move |inner| inner.read(after, limit)).await
    }
}
