//! Uploaded code: a gzipped tar archive, unpacked without trust.
//!
//! Nothing is written but new files, directories and links below the workspace: every directory on the way is opened
//! without following links, no name may come twice, and a link must stay inside. So the order of entries, and what
//! they call each other, does not matter.

mod entry;
mod inside;
mod place;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use runvoy_task::{UploadWorkspace, links};
use sha2::{Digest as _, Sha256};

use self::entry::{Entry, Kind, each};
use self::place::{Place, Unplaced};
use super::fault::Fault;

/// What an archive may unpack to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of all files, and of all headers, together.
    pub(super) bytes: u64,
    /// Files, links and directories, also those that only lead to others.
    pub(super) entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 30, entries: 500_000 }
    }
}

/// Unpacks an archive into an empty directory, if it is the one that its digest names.
pub(super) fn unpack(
    archive: File,
    upload: &UploadWorkspace,
    root: &Path,
    limits: Limits,
) -> Result<(), Fault> {
    let mut hashed =
        Hashed { inner: archive.take(upload.size.saturating_add(1)), hash: Sha256::new(), bytes: 0 };
    let unpacked = unpack_from(&mut hashed, root, limits);
    if let Err(Stop::Words(fault)) = unpacked {
        return Err(fault);
    }
    // A damaged archive is told as such, wherever it was noticed.
    io::copy(&mut hashed, &mut io::sink()).map_err(|error| unreadable(&error))?;
    if hashed.bytes != upload.size || hex(&hashed.hash.finalize()) != upload.sha256 {
        return Err(Fault::new(
            "the uploaded code is damaged: it is not what its SHA-256 names; upload it again",
        ));
    }
    match unpacked {
        Err(Stop::Archive(error)) => Err(unreadable(&error)),
        _ => Ok(()),
    }
}

/// Why unpacking stopped.
enum Stop {
    /// For a reason to be told.
    Words(Fault),
    /// The archive cannot be read.
    Archive(io::Error),
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::new(format!("the uploaded code is no readable .tar.gz archive: {error}; upload it again"))
}

fn unpack_from(archive: impl Read, root: &Path, limits: Limits) -> Result<(), Stop> {
    let place = Place::open(root, limits.entries)
        .map_err(|error| Stop::Words(Fault::writing("the uploaded code", &error)))?;
    let mut unpacker = Unpacker { place, limits };
    let text = GzDecoder::new(BufReader::with_capacity(64 * 1024, archive));
    each(text, limits, |entry, body| unpacker.take(&entry, body))
}

struct Unpacker {
    place: Place,
    limits: Limits,
}

impl Unpacker {
    fn take(&mut self, entry: &Entry, body: &mut dyn Read) -> Result<(), Stop> {
        let name = entry.shown();
        let way = inside::way(&entry.path).map_err(|why| refused(&name, why))?;
        let Some((last, dirs)) = way.split_last() else { return Ok(()) };
        let placed = match &entry.kind {
            Kind::Directory => self.place.directory(&way),
            Kind::File { mode, modified } => {
                return self.file(&name, (dirs, last), (*mode, *modified, entry.size), body);
            }
            Kind::Symlink(target) => {
                if !links::stay(dirs.len(), target) {
                    return Err(refused(&name, "a symbolic link that leads out of the workspace"));
                }
                self.place.symlink(dirs, last, target)
            }
            Kind::Hardlink(target) => {
                let target = inside::way(target).ok().filter(|target| !target.is_empty());
                let target =
                    target.ok_or_else(|| refused(&name, "a hard link to something outside the workspace"))?;
                self.place.hardlink(dirs, last, &target)
            }
            Kind::Other => return Err(refused(&name, "something that is neither file, directory nor link")),
        };
        placed.map_err(|error| self.unplaced(&name, error))
    }

    fn file(
        &mut self,
        name: &str,
        (dirs, last): (&[&[u8]], &[u8]),
        (mode, modified, size): (u32, u64, u64),
        body: &mut dyn Read,
    ) -> Result<(), Stop> {
        let placed = self.place.file(dirs, last);
        let file = placed.map_err(|error| self.unplaced(name, error))?;
        let words = |error| self.unplaced(name, Unplaced::Io(error));
        let copied = copy(body, &file, words)?;
        if copied != size {
            return Err(Stop::Archive(io::ErrorKind::UnexpectedEof.into()));
        }
        place::finish(&file, mode, modified).map_err(words)
    }

    fn unplaced(&self, name: &str, error: Unplaced) -> Stop {
        Stop::Words(match error {
            Unplaced::Io(error) => Fault::writing(&format!("`{name}`"), &error),
            Unplaced::TooMany => return too_big(&format!("more than {} files", self.limits.entries)),
            Unplaced::Twice => Fault::new(format!("the uploaded code holds `{name}` twice; pack it anew")),
            Unplaced::NoTarget => Fault::new(format!(
                "the uploaded code holds `{name}`, a hard link to no file in it; pack it anew"
            )),
            Unplaced::NoDirectory => Fault::new(format!(
                "the uploaded code holds `{name}` below something that is no directory; pack it anew"
            )),
        })
    }
}

fn too_big(what: &str) -> Stop {
    Stop::Words(Fault::new(format!(
        "the uploaded code unpacks to {what}; leave out what the command does not need by .runvoyignore"
    )))
}

fn refused(name: &str, why: &str) -> Stop {
    Stop::Words(Fault::new(format!(
        "the uploaded code holds `{name}`, {why}; leave it out by .runvoyignore and upload again"
    )))
}

/// Copies to the end of an entry; tells the two sides' errors apart.
fn copy(from: &mut dyn Read, mut to: &File, words: impl FnOnce(io::Error) -> Stop) -> Result<u64, Stop> {
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        let read = from.read(&mut buffer).map_err(Stop::Archive)?;
        if read == 0 {
            return Ok(copied);
        }
        if let Err(error) = io::Write::write_all(&mut to, buffer.get(..read).unwrap_or_default()) {
            return Err(words(error));
        }
        copied += read as u64;
    }
}

/// Reads, counts and hashes.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
