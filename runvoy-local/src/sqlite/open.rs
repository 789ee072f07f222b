use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runvoy_core::port::BoxError;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::account_row;
use super::database::Files;
use super::error::Failure;
use super::image_registry::{self, Images};
use super::lock_manager::{self, Documents};
#[cfg(feature = "server")]
use super::master_key::MasterKey;
use super::schema;
use super::seal::Sealer;
use crate::accounts::Accounts;

/// Reading threads, and connections.
const READERS: usize = 2;
const STATEMENTS: usize = 64;
const BUSY: Duration = Duration::from_secs(5);
/// A WAL that a burst made longer is cut back to this.
const WAL_BYTES: i64 = 16 * 1024 * 1024;
pub(super) const KEY_CHECK: &str = "master_key_check";

/// Why a file's stores could not be opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[error("the database {path} cannot be opened: {problem}", path = .path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: OpenProblem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenProblem {
    /// Another server has it open.
    #[error("another runvoy server is using it")]
    InUse,
    /// It is a database of something else.
    #[error("it is not a runvoy database")]
    NotOurs,
    /// It was written by a newer release.
    #[error("it has version {version}, and this release knows {known} at most: use the newer release again")]
    Newer {
        /// The file's version.
        version: usize,
        /// The last version that this release knows.
        known: usize,
    },
    /// The master key is not the one that it was made with.
    #[error(
        "its master key is another one: give it the right one back (`master.key`, or RUNVOY_MASTER_KEY), nothing is lost; where it is lost, docs/OPERATIONS.md says how to go on"
    )]
    WrongMasterKey,
    /// It is no database at all, or a broken one.
    #[error("it is damaged, restore it from a backup: {0}")]
    Damaged(BoxError),
    /// The system or SQLite could not open it.
    #[error("{0}")]
    Failed(BoxError),
}

impl From<rusqlite::Error> for OpenProblem {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<io::Error> for OpenProblem {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for OpenProblem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sqlite(error) => error.into(),
            Failure::Unseal => Self::WrongMasterKey,
            Failure::Unreadable(source) => Self::Damaged(source),
            other => Self::Failed(other.into()),
        }
    }
}

/// What is kept in memory beside the file.
pub(super) struct Kept {
    pub(super) accounts: Accounts,
    pub(super) locks: Documents,
    pub(super) images: Images,
}

/// What a database says of a key.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fits {
    /// It was made with it.
    Yes,
    /// It was made with another one.
    No,
    /// It is not there, or empty, or was told to forget its key: any will do.
    Any,
}

/// Whether a database was made with this key. The file stays as it is.
#[cfg(feature = "server")]
pub(crate) fn fits(path: &Path, key: &MasterKey) -> Result<Fits, OpenError> {
    look(path, |connection| match check_key(connection, &Sealer::new(key.clone())) {
        Ok(true) => Ok(Fits::Yes),
        Ok(false) => Ok(Fits::Any),
        Err(OpenProblem::WrongMasterKey) => Ok(Fits::No),
        Err(other) => Err(other),
    })
    .map(|found| found.unwrap_or(Fits::Any))
}

/// Whether a database was made with any key, and not told to forget it. The file stays as it is.
#[cfg(feature = "server")]
pub(crate) fn knows_a_key(path: &Path) -> Result<bool, OpenError> {
    let found = look(path, |connection| Ok(key_check(connection)?.is_some()))?;
    Ok(found.unwrap_or(false))
}

/// What a database says; `None` if it is not there, or empty.
#[cfg(feature = "server")]
fn look<T>(
    path: &Path,
    ask: impl FnOnce(&Connection) -> Result<T, OpenProblem>,
) -> Result<Option<T>, OpenError> {
    let asked = || {
        if !path.try_exists()? {
            return Ok(None);
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if schema::version(&connection)? == 0 { Ok(None) } else { ask(&connection).map(Some) }
    };
    asked().map_err(|problem| OpenError { path: path.to_owned(), problem })
}

/// Opens, checks and migrates the file, and reads what is kept in memory of it.
pub(super) fn open(path: &Path, sealer: &Sealer) -> Result<(Files, Kept), OpenProblem> {
    let lock = lock(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        Err(_) => fs::set_permissions(path, Permissions::from_mode(0o600))?,
        Ok(_) => {}
    }
    let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = schema::version(&writer)?;
    if version > 0 {
        check_key(&writer, sealer)?;
    }
    prepare(&writer)?;
    schema::migrate(&mut writer, version, schema::MIGRATIONS)?;
    remember_key(&writer, sealer)?;
    let kept = Kept {
        accounts: account_row::load(&writer)?,
        locks: lock_manager::load(&writer)?,
        images: image_registry::load(&writer)?,
    };
    let readers = (0..READERS)
        .map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
        .collect::<Result<_, OpenProblem>>()?;
    Ok((Files { writer, readers, lock }, kept))
}

/// Keys are cached, so the file has one server. The lock ends with its process, however that ends.
fn lock(path: &Path) -> Result<File, OpenProblem> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenProblem::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, OpenProblem> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn prepare(writer: &Connection) -> Result<(), OpenProblem> {
    let mode: String = writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenProblem::Failed("its file system cannot keep a write-ahead log".into()));
    }
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update(None, "foreign_keys", true)?;
    writer.pragma_update(None, "secure_delete", true)?;
    writer.pragma_update(None, "temp_store", "MEMORY")?;
    writer.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    Ok(())
}

/// Unseals a value that only the right key unseals; `false` if there is none.
fn check_key(connection: &Connection, sealer: &Sealer) -> Result<bool, OpenProblem> {
    let value = key_check(connection)?;
    if let Some(value) = &value {
        sealer.unseal(KEY_CHECK.as_bytes(), value)?;
    }
    Ok(value.is_some())
}

fn key_check(connection: &Connection) -> Result<Option<Vec<u8>>, OpenProblem> {
    let select = "SELECT value FROM meta WHERE name = ?1";
    Ok(connection.query_row(select, [KEY_CHECK], |row| row.get(0)).optional()?)
}

fn remember_key(connection: &Connection, sealer: &Sealer) -> Result<(), OpenProblem> {
    let value = sealer.seal(KEY_CHECK.as_bytes(), b"")?;
    let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    connection.execute(insert, (KEY_CHECK, value))?;
    Ok(())
}
