//! Another master key: all that is sealed is sealed anew, in one commit.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use runvoy_core::audit::{self, AuditProblem, Checkpoint, Verifier};
use runvoy_core::id::{Email, ExecutionId, RequestId};
use runvoy_core::port::{AuditEvent, AuditKind, BoxError, Resource};
use rusqlite::{Connection, TransactionBehavior};

use super::error::Failure;
use super::execution_row::Columns;
use super::master_key::MasterKey;
use super::open::{self, KEY_CHECK, OpenError};
use super::seal::Sealer;
use super::{audit_log, secret_store};

const SEALED_REQUESTS: &str =
    "SELECT id, sealed_request FROM executions WHERE sealed_request IS NOT NULL ORDER BY id";
const PUT_REQUEST: &str = "UPDATE executions SET sealed_request = ?2 WHERE id = ?1";
const PUT_CHECK: &str = "UPDATE meta SET value = ?2 WHERE name = ?1";

/// Records of the audit log that are checked at a time.
const AUDIT_PAGE: usize = 1000;

/// What to do where the audit log is not what the old key's checkpoints tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAuditProblem {
    /// Nothing else: without the old key nobody could find it out any more.
    #[default]
    Refuse,
    /// Goes on, and has the log say what is wrong with it.
    Note,
}

/// What was sealed anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Secrets.
    pub secrets: usize,
    /// Requests of live executions.
    pub requests: usize,
    /// What is wrong with the audit log, and was noted in it.
    pub audit_problem: Option<AuditProblem>,
}

/// Why nothing was sealed anew. The file is as it was, but for its version: one that an older release wrote is this
/// release's then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// The file could not be opened, or has another key.
    #[error(transparent)]
    Open(OpenError),
    /// A sealed value does not open, although the key is right.
    #[error("{what} cannot be opened: it was changed in the file; nothing was changed")]
    Broken {
        /// Which.
        what: String,
    },
    /// The audit log was changed.
    #[error("the audit log is not what was written: {}; nothing was changed", .0.message)]
    AuditLog(AuditProblem),
    /// The file could not be read or written.
    #[error("the database {path} could not be written; nothing was changed", path = .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
}

/// Seals everything in the database at `path` with another key, notes that in the audit log, and anchors the log with the
/// new key: all of it or nothing, whatever happens meanwhile. Nothing that was sealed with the old key is left in the file
/// once this has answered, or the file was opened and closed again.
///
/// The log is checked before that, by the old key: the new one vouches for nothing that it does not vouch for.
///
/// Nobody else may have the file open. Reads the disk, and blocks.
pub fn reseal(
    path: &Path,
    old: &MasterKey,
    new: &MasterKey,
    at: Timestamp,
    on_audit_problem: OnAuditProblem,
) -> Result<Resealed, ResealError> {
    let (from, to) = (Sealer::new(old.clone()), Sealer::new(new.clone()));
    let opened = open::open(path, &from);
    let (mut files, _) =
        opened.map_err(|problem| ResealError::Open(OpenError { path: path.to_owned(), problem }))?;
    // A reader keeps what it may read from being removed.
    files.readers.clear();
    let failed = |failure: Failure| ResealError::Failed { path: path.to_owned(), source: failure.into() };
    let written = files.writer.transaction_with_behavior(TransactionBehavior::Immediate);
    let written = written.map_err(|error| failed(error.into()))?;
    let resealing = Resealing { connection: &written, from, to, failed: &failed };
    let audit_problem = resealing.audit_problem(old).map_err(failed)?;
    if let (Some(problem), OnAuditProblem::Refuse) = (&audit_problem, on_audit_problem) {
        return Err(ResealError::AuditLog(problem.clone()));
    }
    let resealed = resealing.all(new, at, audit_problem)?;
    written.commit().map_err(|error| failed(error.into()))?;
    // The last connection folds the write-ahead log into the file, over what was sealed before.
    drop(files);
    Ok(resealed)
}

/// A transaction in which everything gets another seal.
struct Resealing<'a, F> {
    connection: &'a Connection,
    from: Sealer,
    to: Sealer,
    failed: &'a F,
}

impl<F: Fn(Failure) -> ResealError> Resealing<'_, F> {
    fn all(
        &self,
        new: &MasterKey,
        at: Timestamp,
        audit_problem: Option<AuditProblem>,
    ) -> Result<Resealed, ResealError> {
        let resealed = Resealed { secrets: self.secrets()?, requests: self.requests()?, audit_problem };
        self.finish(new, at, &resealed).map_err(self.failed)?;
        Ok(resealed)
    }

    /// What the old key's checkpoints say of the audit log, which nobody can ask them again.
    fn audit_problem(&self, old: &MasterKey) -> Result<Option<AuditProblem>, Failure> {
        let checkpoints = audit_log::checkpoints(self.connection)?;
        let mut verifier = Verifier::new(checkpoints, Some(&old.checkpoint_key()), None);
        let mut after = 0;
        loop {
            let records = audit_log::read(self.connection, after, AUDIT_PAGE)?;
            // Numbers that do not grow are a fault, so this ends.
            let whole = records.iter().all(|record| verifier.take(record));
            match records.last() {
                Some(last) if whole && records.len() == AUDIT_PAGE => after = last.seq,
                _ => return Ok(verifier.finish().problem),
            }
        }
    }

    fn secrets(&self) -> Result<usize, ResealError> {
        let secrets = secret_store::all(self.connection).map_err(self.failed)?;
        for secret in &secrets {
            let sealed = secret_store::sealed(self.connection, &secret.name).map_err(self.failed)?;
            let value = self.from.unseal_secret(secret, &sealed);
            let value =
                value.map_err(|failure| self.broken(failure, format!("the secret `{}`", secret.name)))?;
            let sealed = self.to.seal_secret(secret, &value).map_err(self.failed)?;
            secret_store::put_sealed(self.connection, &secret.name, &sealed).map_err(self.failed)?;
        }
        Ok(secrets.len())
    }

    fn requests(&self) -> Result<usize, ResealError> {
        let requests = self.sealed_requests().map_err(self.failed)?;
        for (id, sealed) in &requests {
            let request = self.from.unseal_request(*id, sealed);
            let request =
                request.map_err(|failure| self.broken(failure, format!("the request of execution {id}")))?;
            let sealed = self.to.seal_request(*id, &request).map_err(self.failed)?;
            let written = self.connection.execute(PUT_REQUEST, (id.to_string(), sealed));
            written.map_err(|error| (self.failed)(error.into()))?;
        }
        Ok(requests.len())
    }

    fn sealed_requests(&self) -> Result<Vec<(ExecutionId, Vec<u8>)>, Failure> {
        let mut statement = self.connection.prepare(SEALED_REQUESTS)?;
        let mut rows = statement.query([])?;
        let mut requests = Vec::new();
        while let Some(row) = rows.next()? {
            requests.push((Columns(row).parsed(0)?, row.get(1)?));
        }
        Ok(requests)
    }

    /// The audit log says what happened before the key check does; both are there or neither.
    fn finish(&self, new: &MasterKey, at: Timestamp, resealed: &Resealed) -> Result<(), Failure> {
        let event = AuditEvent {
            at,
            request_id: RequestId::random(),
            user: Email::system(),
            address: None,
            kind: AuditKind::Allowed,
            action: "rotate_master_key".to_owned(),
            resource: Resource::System.to_string(),
            policy: None,
            detail: Some(detail(resealed)),
        };
        audit_log::append(self.connection, &audit::body(&event).map_err(Failure::unreadable)?)?;
        let head = audit_log::head(self.connection)?;
        let anchor = Checkpoint::new(at, head, Some(&new.checkpoint_key()));
        audit_log::add_checkpoint(self.connection, anchor)?;
        let check = self.to.seal(KEY_CHECK.as_bytes(), b"")?;
        self.connection.execute(PUT_CHECK, (KEY_CHECK, check))?;
        Ok(())
    }

    fn broken(&self, failure: Failure, what: String) -> ResealError {
        match failure {
            Failure::Unseal | Failure::Unreadable(_) => ResealError::Broken { what },
            other => (self.failed)(other),
        }
    }
}

fn detail(resealed: &Resealed) -> String {
    let sealed = format!("secrets: {}, requests: {}", resealed.secrets, resealed.requests);
    match &resealed.audit_problem {
        Some(problem) => format!("{sealed}; the audit log is not what was written: {}", problem.message),
        None => sealed,
    }
}
