//! The master key's files: which one is right after a rotation that was cut off, and the rotation itself.
//!
//! A rotation writes the new key beside the old one, seals the database with it in one commit, and puts it in the old one's
//! place. Whenever it is cut off, one of the two files is the key of the database, and the database says which.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;

use jiff::Timestamp;

use crate::DataDir;
use crate::sqlite::{
    Fits, MasterKey, MasterKeyError, OnAuditProblem, OpenError, ResealError, Resealed, fits,
    remove_unfinished, reseal, sync_directory,
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
}

/// The key of the data directory's file; made at the first start.
///
/// Finishes a rotation that was cut off after the database got its new key, and takes back one that was cut off before.
/// While there is no database to say which, nothing is thrown away: it may be on its way back.
pub(crate) fn settle(dir: &DataDir) -> Result<MasterKey, RotateError> {
    let (path, next_path) = (dir.master_key(), dir.next_master_key());
    remove_unfinished(&path)?;
    remove_unfinished(&next_path)?;
    let Some(next) = MasterKey::load_if_there(&next_path)? else {
        return Ok(MasterKey::load_or_create(&path)?);
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
    let key = MasterKey::load_or_create(&path)?;
    // Where neither is right, somebody has put another file here: nothing is thrown away either.
    if fits(&dir.database(), &key)? == Fits::Yes {
        fs::remove_file(&next_path)?;
        sync_directory(&next_path)?;
    }
    Ok(key)
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
    let is_in_file = old.is_none();
    let old = match old {
        Some(old) => old,
        None => settle(dir)?,
    };
    done(Step::Settled);
    let new_is_in_file = new.is_none();
    let new = match new {
        Some(new) => new,
        None if is_in_file => write_next(dir)?,
        None => return Err(RotateError::NoNewKey),
    };
    done(Step::Written);
    let database = dir.database();
    let was_sealed = fits(&database, &old)? == Fits::No && fits(&database, &new)? == Fits::Yes;
    let rotated = if was_sealed {
        Rotated::Before
    } else {
        Rotated::Now(reseal(&database, &old, &new, at, on_audit_problem)?)
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
