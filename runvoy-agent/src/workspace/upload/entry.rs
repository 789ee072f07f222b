//! The entries of a tar archive, with the names that extension headers give them.

use std::io::{self, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::{Limits, Stop, refused, too_big};

/// An extension header holds a name: more than this is no name.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// One thing to unpack.
pub(super) struct Entry {
    /// Its name, as it is.
    pub(super) path: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// Bytes of its body.
    pub(super) size: u64,
}

/// What an entry is.
pub(super) enum Kind {
    File { mode: u32, modified: u64 },
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Other,
}

impl Entry {
    /// The name for people: no control characters, not for ever.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.path);
        text.chars().take(200).map(|char| if char.is_control() { '?' } else { char }).collect()
    }
}

/// What extension headers say about the entry that follows.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Hands every entry and its body to `take`. Headers are counted, and so are the bytes of whatever has a body, before one of
/// them is read: an archive of headers alone has an end, and a bomb costs nothing.
pub(super) fn each(
    archive: impl Read,
    limits: Limits,
    mut take: impl FnMut(Entry, &mut dyn Read) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut archive = Archive::new(archive);
    let mut extension = Extension::default();
    let (mut headers_left, mut bytes_left) = (limits.entries.saturating_mul(2), limits.bytes);
    for raw in archive.entries().map_err(Stop::Archive)?.raw(true) {
        let mut raw = raw.map_err(Stop::Archive)?;
        headers_left = headers_left
            .checked_sub(1)
            .ok_or_else(|| Stop::Archive(io::Error::other("it has too many headers")))?;
        bytes_left = bytes_left
            .checked_sub(raw.size())
            .ok_or_else(|| too_big(&format!("more than {} MiB", limits.bytes >> 20)))?;
        match raw.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::XHeader => extension.read_pax(&bounded(&mut raw)?)?,
            EntryType::GNULongName => extension.path = Some(without_end(bounded(&mut raw)?)),
            EntryType::GNULongLink => extension.target = Some(without_end(bounded(&mut raw)?)),
            _ => {
                let entry = entry(&raw, std::mem::take(&mut extension))?;
                take(entry, &mut raw)?;
            }
        }
    }
    Ok(())
}

fn entry<R: Read>(raw: &tar::Entry<'_, R>, extension: Extension) -> Result<Entry, Stop> {
    let header = raw.header();
    let path = extension.path.unwrap_or_else(|| raw.path_bytes().into_owned());
    let target = || {
        let target = extension.target.clone();
        target.unwrap_or_else(|| raw.link_name_bytes().unwrap_or_default().into_owned())
    };
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File {
            mode: header.mode().map_err(Stop::Archive)?,
            modified: header.mtime().unwrap_or_default(),
        },
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()),
        EntryType::Link => Kind::Hardlink(target()),
        _ => Kind::Other,
    };
    let size = raw.size();
    let entry = Entry { path, kind, size };
    if extension.sparse || extension.size.is_some_and(|told| told != size) {
        return Err(refused(&entry.shown(), "a file in a form that is not supported"));
    }
    Ok(entry)
}

impl Extension {
    fn read_pax(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(Stop::Archive)?;
            match record.key_bytes() {
                b"path" => self.path = Some(record.value_bytes().to_vec()),
                b"linkpath" => self.target = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|value| value.parse().ok());
                    self.size = Some(size.ok_or_else(|| Stop::Archive(io::ErrorKind::InvalidData.into()))?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn bounded(body: &mut impl Read) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    body.take(LONGEST_EXTENSION + 1).read_to_end(&mut bytes).map_err(Stop::Archive)?;
    if bytes.len() as u64 > LONGEST_EXTENSION {
        return Err(Stop::Archive(io::Error::other("it has a header that is too long")));
    }
    Ok(bytes)
}

/// GNU's long names end in a zero byte.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}
