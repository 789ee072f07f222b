use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::{memchr, memmem, memrchr};
use runvoy_core::id::RequestId;
use runvoy_core::port::TraceLine;

use super::ServerLogLimits;
use super::record::{Record, mark};

/// The files of a log. The newest is written, each older one has a number.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    limits: ServerLogLimits,
    /// Held while files change their names, so that a reader sees each of them once.
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Newest {
    file: File,
    bytes: u64,
}

impl Files {
    pub(super) fn open(dir: &Path, limits: ServerLogLimits) -> io::Result<Self> {
        let mut file = open(&path(dir, 0))?;
        let mut bytes = file.seek(SeekFrom::End(0))?;
        if bytes > 0 && !ends_a_line(&mut file)? {
            // A server that was killed left half a line.
            file.write_all(b"\n")?;
            bytes += 1;
        }
        Ok(Self { dir: dir.to_owned(), limits, newest: Mutex::new(Newest { file, bytes }) })
    }

    /// Writes whole lines.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut newest = self.lock();
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.limits.file_bytes.saturating_sub(newest.bytes);
            let fits = whole_lines(rest, usize::try_from(room).unwrap_or(usize::MAX));
            if fits == 0 && newest.bytes > 0 {
                *newest = self.begin_another()?;
                continue;
            }
            // A line that is longer than a file has one of its own.
            let fits = if fits == 0 { first_line(rest) } else { fits };
            let (now, later) = rest.split_at_checked(fits).unwrap_or((rest, &[]));
            newest.file.write_all(now)?;
            newest.bytes += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Each file gets the next number, the last one goes.
    fn begin_another(&self) -> io::Result<Newest> {
        let last = self.limits.files.saturating_sub(1);
        for number in (0..last).rev() {
            match fs::rename(path(&self.dir, number), path(&self.dir, number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if last == 0 {
            fs::remove_file(path(&self.dir, 0))?;
        }
        Ok(Newest { file: open(&path(&self.dir, 0))?, bytes: 0 })
    }

    /// The last `limit` lines of a request, from the newest file on as far back as it takes.
    pub(super) fn read(&self, request: RequestId, limit: usize) -> io::Result<Vec<TraceLine>> {
        let mark = mark(request);
        let mut found = Vec::new();
        for mut file in self.existing()? {
            if found.len() >= limit {
                break;
            }
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            find_last(&text, &mark, request, limit, &mut found);
        }
        found.reverse();
        Ok(found)
    }

    /// Every file that there is, the newest first, as of one moment.
    fn existing(&self) -> io::Result<Vec<File>> {
        let _names = self.lock();
        let mut files = Vec::new();
        for number in 0..self.limits.files {
            match File::open(path(&self.dir, number)) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(if number == 0 { "server.jsonl".to_owned() } else { format!("server.{number}.jsonl") })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Bytes of the first line.
fn first_line(lines: &[u8]) -> usize {
    memchr(b'\n', lines).map_or(lines.len(), |at| at + 1)
}

/// Bytes of the whole lines that fit into `room`.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    let part = lines.get(..room.min(lines.len())).unwrap_or(lines);
    memrchr(b'\n', part).map_or(0, |at| at + 1)
}

/// Adds the lines of a request, the last first. What is no line of ours is passed over.
fn find_last(text: &[u8], mark: &str, request: RequestId, limit: usize, found: &mut Vec<TraceLine>) {
    for at in memmem::rfind_iter(text, mark.as_bytes()) {
        if found.len() >= limit {
            return;
        }
        let before = text.get(..at).unwrap_or_default();
        let begin = memrchr(b'\n', before).map_or(0, |at| at + 1);
        let after = text.get(at..).unwrap_or_default();
        let end = memchr(b'\n', after).map_or(text.len(), |length| at + length);
        let record = serde_json::from_slice::<Record>(text.get(begin..end).unwrap_or_default());
        found.extend(record.ok().filter(|record| record.request == Some(request)).map(Record::into_line));
    }
}
