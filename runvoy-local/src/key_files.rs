//! The master key's files: which one is right after a rotation that was cut off, and the rotation itself.
//!
//! A rotation writes the new key beside the old one, seals the database with it in one commit, and puts it in the old one's
//! place. Whenever it is cut off, one of the two files is the key of the database, and the database says which.

use std::fs;
use std::io;

use jiff::Timestamp;

use crate::DataDir;
use crate::sqlite::{
    MasterKey, MasterKeyError, OpenError, ResealError, Resealed, fits, reseal, sync_directory,
};

/// What a rotation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub(crate) fn settle(dir: &DataDir) -> Result<MasterKey, RotateError> {
    let (path, next_path) = (dir.master_key(), dir.next_master_key());
    let Some(next) = MasterKey::load_if_there(&next_path)? else {
        return Ok(MasterKey::load_or_create(&path)?);
    };
    if fits(&dir.database(), &next)? {
        take_its_place(dir)?;
        return Ok(next);
    }
    let key = MasterKey::load_or_create(&path)?;
    // Where neither is right, somebody has put another file here: nothing is thrown away.
    if fits(&dir.database(), &key)? {
        fs::remove_file(&next_path)?;
        sync_directory(&next_path)?;
    }
    Ok(key)
}

/// Gives a data directory another master key.
///
/// `old` and `new` are keys that are kept elsewhere; without them the old one is in the directory's file, and a new random
/// one takes its place there. A new one that is kept elsewhere leaves no file.
///
/// It may be cut off at any time: either key is the right one then, never none and never both, and the next start or the
/// next rotation finds out which. The directory's server must not run, which owning `dir` says. Blocks.
pub fn rotate_master_key(
    dir: &DataDir,
    old: Option<MasterKey>,
    new: Option<MasterKey>,
    at: Timestamp,
) -> Result<Rotated, RotateError> {
    rotate(dir, old, new, at, &mut |_| ())
}

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Settled,
    Written,
    Sealed,
    Replaced,
}

fn rotate(
    dir: &DataDir,
    old: Option<MasterKey>,
    new: Option<MasterKey>,
    at: Timestamp,
    done: &mut dyn FnMut(Step),
) -> Result<Rotated, RotateError> {
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
    let rotated = if database.try_exists()? && !fits(&database, &old)? && fits(&database, &new)? {
        Rotated::Before
    } else {
        Rotated::Now(reseal(&database, &old, &new, at)?)
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use runvoy_core::audit::Verifier;
    use runvoy_core::id::ExecutionId;
    use runvoy_core::secrets::{Secret, SecretValue};
    use runvoy_core::testing::execution_store::{new_execution, some_execution};
    use runvoy_core::testing::secret_store::some_secret;

    use super::*;
    use crate::sqlite::{SqliteConfig, SqliteStores};

    const STEPS: [Step; 4] = [Step::Settled, Step::Written, Step::Sealed, Step::Replaced];

    fn stores(dir: &DataDir, key: MasterKey) -> SqliteStores {
        SqliteStores::open(SqliteConfig { path: dir.database(), master_key: key }).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    /// A secret and a live execution.
    async fn fill(dir: &DataDir, key: MasterKey) -> (Secret, ExecutionId) {
        let (stores, secret, new) = (stores(dir, key), some_secret(), new_execution(some_execution()));
        stores.secret_store().create(secret.clone(), SecretValue::new("hunter22-hunter22")).await.unwrap();
        stores.execution_store().create(new.clone()).await.unwrap();
        (secret, new.record.id)
    }

    async fn assert_all_there(dir: &DataDir, key: MasterKey, (secret, id): &(Secret, ExecutionId)) {
        let stores = stores(dir, key.clone());
        let made_by = secret.created_by_request_id;
        let revealed = stores.secret_store().reveal(&secret.name, made_by).await.unwrap().unwrap();
        assert_eq!(revealed, (secret.clone(), SecretValue::new("hunter22-hunter22")));
        assert!(stores.execution_store().request(*id).await.unwrap().is_some());
        let audit = stores.audit_log();
        let checkpoints = audit.checkpoints().await.unwrap();
        let mut verifier = Verifier::new(checkpoints, Some(&key.checkpoint_key()), None);
        audit.read(0, 100).await.unwrap().iter().for_each(|record| assert!(verifier.take(record)));
        assert_eq!(verifier.finish().problem, None);
    }

    /// Files of the directory that hold `bytes`.
    fn holding(dir: &DataDir, bytes: &[u8]) -> Vec<std::path::PathBuf> {
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| fs::read(path).unwrap().windows(bytes.len()).any(|part| part == bytes)).collect()
    }

    #[tokio::test]
    async fn everything_opens_with_the_new_key_only_and_nothing_is_left_of_the_old() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let old = settle(&dir).unwrap();
        let filled = fill(&dir, old.clone()).await;
        let sealed: Vec<u8> = rusqlite::Connection::open(dir.database())
            .unwrap()
            .query_row("SELECT sealed_value FROM secrets", [], |row| row.get(0))
            .unwrap();
        assert_ne!(holding(&dir, &sealed), Vec::<std::path::PathBuf>::new());
        let old_bytes = fs::read(dir.master_key()).unwrap();
        let rotated = rotate_master_key(&dir, None, None, now()).unwrap();
        assert_eq!(rotated, Rotated::Now(Resealed { secrets: 1, requests: 1 }));
        assert!(!fits(&dir.database(), &old).unwrap());
        let new = settle(&dir).unwrap();
        assert_all_there(&dir, new, &filled).await;
        for bytes in [sealed.as_slice(), &old_bytes, b"hunter22-hunter22"] {
            assert_eq!(holding(&dir, bytes), Vec::<std::path::PathBuf>::new());
        }
        assert!(!dir.next_master_key().exists());
    }

    #[tokio::test]
    async fn a_key_moves_out_of_its_file_and_on() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let filled = fill(&dir, settle(&dir).unwrap()).await;
        let [first, second] = [7, 8].map(|byte| MasterKey::from_bytes([byte; 32]));
        rotate_master_key(&dir, None, Some(first.clone()), now()).unwrap();
        assert!(!dir.master_key().exists());
        assert_all_there(&dir, first.clone(), &filled).await;
        let error = rotate_master_key(&dir, Some(first.clone()), None, now()).unwrap_err();
        assert!(matches!(error, RotateError::NoNewKey), "{error}");
        rotate_master_key(&dir, Some(first.clone()), Some(second.clone()), now()).unwrap();
        // Whoever was not told that it is done asks again.
        let again = rotate_master_key(&dir, Some(first.clone()), Some(second.clone()), now()).unwrap();
        assert_eq!(again, Rotated::Before);
        assert_all_there(&dir, second, &filled).await;
        let wrong = rotate_master_key(&dir, Some(first), Some(MasterKey::from_bytes([9; 32])), now());
        assert!(wrong.unwrap_err().to_string().contains("its master key is another one"));
    }

    #[tokio::test]
    async fn a_value_that_does_not_open_is_named_and_nothing_is_changed() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let old = settle(&dir).unwrap();
        let (secret, _) = fill(&dir, old.clone()).await;
        let (other, _) = fill(&dir, old.clone()).await;
        rusqlite::Connection::open(dir.database())
            .unwrap()
            .execute("UPDATE secrets SET sealed_value = x'00' WHERE name = ?1", [other.name.as_str()])
            .unwrap();
        let error = rotate_master_key(&dir, None, None, now()).unwrap_err().to_string();
        assert!(error.contains(&format!("the secret `{}`", other.name)), "{error}");
        assert!(fits(&dir.database(), &old).unwrap());
        let key = settle(&dir).unwrap();
        assert!(!dir.next_master_key().exists(), "what was begun is taken back");
        let secrets = stores(&dir, key).secret_store();
        assert!(secrets.reveal(&secret.name, secret.created_by_request_id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_crash_after_any_step_leaves_one_right_key() {
        for (number, step) in STEPS.iter().enumerate() {
            let home = tempfile::tempdir().unwrap();
            let filled = {
                let dir = DataDir::open(home.path()).unwrap();
                fill(&dir, settle(&dir).unwrap()).await
            };
            let died = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "key_files::tests::rotates_until_it_dies", "--test-threads=1"])
                .env("RUNVOY_TEST_DIRECTORY", home.path())
                .env("RUNVOY_TEST_STEP", number.to_string())
                .output()
                .unwrap();
            assert!(!died.status.success(), "{step:?}");
            let dir = DataDir::open(home.path()).unwrap();
            assert_all_there(&dir, settle(&dir).unwrap(), &filled).await;
            assert!(!dir.next_master_key().exists(), "{step:?}");
            // And once more, to its end.
            rotate_master_key(&dir, None, None, now()).unwrap();
            assert_all_there(&dir, settle(&dir).unwrap(), &filled).await;
        }
    }

    /// The child of the test above; without its variables it is nobody's and does nothing.
    #[test]
    fn rotates_until_it_dies() {
        let Some(directory) = std::env::var_os("RUNVOY_TEST_DIRECTORY") else { return };
        let step: usize = std::env::var("RUNVOY_TEST_STEP").unwrap().parse().unwrap();
        let dir = DataDir::open(Path::new(&directory)).unwrap();
        let mut die = |done: Step| {
            if done == STEPS[step] {
                std::process::abort();
            }
        };
        rotate(&dir, None, None, now(), &mut die).unwrap();
    }
}
