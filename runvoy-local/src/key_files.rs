//! The master key's files: which one is right after a rotation that was cut off, and the rotation itself.
//!
//! A rotation writes the new key beside the old one, seals the database with it in one commit, and puts it in the old one's
//! place. Whenever it is cut off, one of the two files is the key of the database, and the database says which.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::DataDir;
use crate::sqlite::{
    Fits, MasterKey, MasterKeyError, OnAuditProblem, OpenError, OpenProblem, ResealError, Resealed, fits,
    knows_a_key, remove_unfinished, reseal, sync_directory,
};

/// What a rotation is to do.
#[derive(Debug)]
pub struct Rotation {
    /// The present key, if it is kept elsewhere; in the directory's file otherwise.
    pub old: Option<MasterKey>,
    /// The new one, if it is kept elsewhere; otherwise it is random, and takes the old one's place in the file.
    pub new: Option<MasterKey>,
    /// When.
    pub at: Timestamp,
    /// What to do where the audit log is not what the old key's checkpoints tell.
    pub on_audit_problem: OnAuditProblem,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// All that is sealed opens with the new key only.
    Now(Resealed),
    /// It did so before: an earlier rotation to this key had not been told that it was done.
    Before,
}

/// Why a key was not rotated. The one of before is still the right one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The present key cannot be read.
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    /// The file is gone, and another key than the one that was in it opens nothing.
    #[error(
        "there is no {path}, and the database beside it was made with a key: bring the file back, or give the key in RUNVOY_MASTER_KEY; where it is lost, docs/OPERATIONS.md says how to go on",
        path = .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be sealed anew.
    #[error(transparent)]
    Reseal(#[from] ResealError),
    /// The new key could not be written, or the old one removed.
    #[error("the file of the master key cannot be written: {0}")]
    File(#[from] io::Error),
    /// There is no file to put a new key into, and none was given.
    #[error("the master key is not kept in a file, so the new one has to be given, too")]
    NoNewKey,
    /// There is no other key to change to.
    #[error("the new master key is the old one; nothing was changed")]
    SameKey,
}

/// The key of the data directory's file; made at the first start, and never beside a database that was made with one.
///
/// Finishes a rotation that was cut off after the database got its new key, and takes back one that was cut off before.
/// While there is no database to say which, nothing is thrown away: it may be on its way back.
pub(crate) fn settle(dir: &DataDir) -> Result<MasterKey, RotateError> {
    let key = settled(dir)?;
    // Only now: without a key, what is half done may be all that is left of it.
    remove_unfinished(&dir.master_key())?;
    remove_unfinished(&dir.next_master_key())?;
    Ok(key)
}

fn settled(dir: &DataDir) -> Result<MasterKey, RotateError> {
    let (path, next_path) = (dir.master_key(), dir.next_master_key());
    let Some(next) = MasterKey::load_if_there(&next_path)? else {
        return present_or_first(dir);
    };
    let is_next = match fits(&dir.database(), &next)? {
        Fits::Yes => true,
        Fits::No => false,
        Fits::Any => !path.try_exists()?,
    };
    if is_next {
        take_its_place(dir)?;
        return Ok(next);
    }
    let key = present_or_first(dir)?;
    // Where neither is right, somebody has put another file here: nothing is thrown away either.
    if fits(&dir.database(), &key)? == Fits::Yes {
        fs::remove_file(&next_path)?;
        sync_directory(&next_path)?;
    }
    Ok(key)
}

/// The key of the file. The first one is made where no database needs another.
fn present_or_first(dir: &DataDir) -> Result<MasterKey, RotateError> {
    let path = dir.master_key();
    if let Some(key) = MasterKey::load_if_there(&path)? {
        return Ok(key);
    }
    if knows_a_key(&dir.database())? {
        return Err(RotateError::Missing { path });
    }
    Ok(MasterKey::load_or_create(&path)?)
}

/// Gives a data directory another master key.
///
/// A new one that is kept elsewhere leaves no file.
///
/// It may be cut off at any time: either key is the right one then, never none and never both, and the next start or the
/// next rotation finds out which. The directory's server must not run, which owning `dir` says. Blocks.
pub fn rotate_master_key(dir: &DataDir, rotation: Rotation) -> Result<Rotated, RotateError> {
    rotate(dir, rotation, &mut |_| ())
}

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Settled,
    Written,
    Sealed,
    Replaced,
}

fn rotate(dir: &DataDir, rotation: Rotation, done: &mut dyn FnMut(Step)) -> Result<Rotated, RotateError> {
    let Rotation { old, new, at, on_audit_problem } = rotation;
    let (is_in_file, new_is_in_file) = (old.is_none(), new.is_none());
    let Some(old) = old_key(dir, old, new.as_ref())? else { return Ok(Rotated::Before) };
    done(Step::Settled);
    let database = dir.database();
    let old_fits = fits(&database, &old)?;
    let new = match new {
        Some(new) if new.is(&old) => return Err(RotateError::SameKey),
        Some(new) => new,
        None if !is_in_file => return Err(RotateError::NoNewKey),
        // Before there is a further file.
        None if old_fits == Fits::No => return Err(wrong_key(dir)),
        None => write_next(dir)?,
    };
    done(Step::Written);
    let rotated = if old_fits == Fits::No && fits(&database, &new)? == Fits::Yes {
        Rotated::Before
    } else {
        let resealed = reseal(&database, &old, &new, at, on_audit_problem);
        if resealed.is_err() && new_is_in_file {
            // The database knows whether it was. What is not taken back now is at the next start.
            let _ = settle(dir);
        }
        Rotated::Now(resealed?)
    };
    done(Step::Sealed);
    if new_is_in_file {
        take_its_place(dir)?;
    } else if is_in_file {
        fs::remove_file(dir.master_key())?;
        sync_directory(&dir.master_key())?;
    }
    done(Step::Replaced);
    Ok(rotated)
}

/// The key to rotate from. `None` if its file was removed by a rotation to `new` that was not told that it was done.
fn old_key(
    dir: &DataDir,
    old: Option<MasterKey>,
    new: Option<&MasterKey>,
) -> Result<Option<MasterKey>, RotateError> {
    if old.is_some() {
        return Ok(old);
    }
    match (settle(dir), new) {
        (Err(RotateError::Missing { .. }), Some(new)) if fits(&dir.database(), new)? == Fits::Yes => Ok(None),
        (settled, _) => settled.map(Some),
    }
}

fn wrong_key(dir: &DataDir) -> RotateError {
    RotateError::Open(OpenError { path: dir.database(), problem: OpenProblem::WrongMasterKey })
}

/// A new key, beside the old one.
fn write_next(dir: &DataDir) -> Result<MasterKey, RotateError> {
    MasterKey::generate()?.write(&dir.next_master_key())?;
    // What counts is what the file holds.
    Ok(MasterKey::load_or_create(&dir.next_master_key())?)
}

fn take_its_place(dir: &DataDir) -> io::Result<()> {
    fs::rename(dir.next_master_key(), dir.master_key())?;
    sync_directory(&dir.master_key())
}
