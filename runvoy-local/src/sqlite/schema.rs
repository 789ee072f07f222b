//! The tables, as numbered migrations. `user_version` of a file is the number of the last one it has.

use rusqlite::Connection;

use super::audit_upgrade;
use super::open::OpenProblem;

/// The second in which an audit event says it was; NULL where it says none. Of whatever the text is, and cheap: a
/// fraction of parsing it.
macro_rules! second {
    () => {
        "CASE WHEN substr(event, instr(event, '\"at\":\"') + 6, 19)
            GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
            THEN substr(event, instr(event, '\"at\":\"') + 6, 19) END"
    };
}
pub(super) use second;

/// "rvoy": says whose file it is.
pub(super) const APPLICATION_ID: i32 = 0x7276_6f79;

/// Migration `n` stands at index `n - 1`. What is here never changes; what is new comes at the end.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8];

const V1: &str = "
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    email                  TEXT NOT NULL PRIMARY KEY,
    role                   TEXT NOT NULL,
    key_sha256             TEXT NOT NULL UNIQUE,
    created_at             TEXT NOT NULL,
    revoked                INTEGER NOT NULL,
    key_expires_at         TEXT,
    created_by_request_id  TEXT NOT NULL,
    modified_by_request_id TEXT NOT NULL
) STRICT;

-- A new record goes to the end of the table; only the index over random ids is written all over.
CREATE TABLE executions (
    id                     TEXT NOT NULL PRIMARY KEY,
    created_by             TEXT NOT NULL,
    owned_by               TEXT NOT NULL, -- JSON
    command                TEXT NOT NULL,
    image_id               TEXT,
    status                 TEXT NOT NULL,
    status_reason          TEXT,
    status_detail          TEXT,
    exit_code              INTEGER,
    created_at             TEXT NOT NULL,
    started_at             TEXT,
    completed_at           TEXT,
    attempted_at           TEXT NOT NULL,
    timeout_seconds        INTEGER NOT NULL,
    grace_seconds          INTEGER NOT NULL,
    task                   TEXT,
    stop_by                TEXT,
    stop_at                TEXT,
    stop_grace_seconds     INTEGER,
    created_by_request_id  TEXT NOT NULL,
    modified_by_request_id TEXT NOT NULL,
    log_events             INTEGER,
    log_bytes              INTEGER,
    log_replacements       INTEGER,
    log_hash               TEXT,
    sealed_request         BLOB -- only while it is live
) STRICT;

-- Each index costs every create and every step a page: these three answer all listings, and count what is live.
CREATE INDEX executions_by_time ON executions (created_at, id);
CREATE INDEX executions_by_status ON executions (status, created_at, id);
CREATE INDEX executions_by_user_and_status ON executions (created_by, status, created_at, id);

CREATE TABLE idempotency_keys (
    created_by         TEXT NOT NULL,
    key                TEXT NOT NULL,
    execution_id       TEXT NOT NULL REFERENCES executions (id),
    fingerprint_sha256 TEXT NOT NULL,
    expires_at         TEXT NOT NULL,
    PRIMARY KEY (created_by, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE TABLE audit_events (
    seq        INTEGER PRIMARY KEY,
    at         TEXT NOT NULL,
    request_id TEXT NOT NULL,
    user       TEXT NOT NULL,
    address    TEXT,
    kind       TEXT NOT NULL,
    action     TEXT NOT NULL,
    resource   TEXT NOT NULL,
    policy     TEXT,
    detail     TEXT
) STRICT;

CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END;

CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never deleted'); END;
";

/// Locks.
const V2: &str = "
CREATE TABLE locks (
    name     TEXT NOT NULL PRIMARY KEY,
    in_use   INTEGER NOT NULL, -- held, or waited for
    document TEXT NOT NULL -- JSON: holder, token, waiters
) STRICT, WITHOUT ROWID;

CREATE INDEX locks_in_use ON locks (name) WHERE in_use;

ALTER TABLE executions ADD COLUMN lock_name TEXT;
ALTER TABLE executions ADD COLUMN lock_use TEXT; -- JSON: token, how long it waits, what became of it

-- Costs nothing to those that want no lock.
CREATE INDEX executions_by_lock ON executions (lock_name, status, created_at, id) WHERE lock_name IS NOT NULL;
";

/// The audit log becomes a chain. What was set aside is chained by [`audit_upgrade`] before the commit.
const V3: &str = "
DROP TRIGGER audit_events_are_not_changed;
DROP TRIGGER audit_events_are_not_deleted;
ALTER TABLE audit_events RENAME TO audit_events_unchained;

-- sha256 is that of the row before (64 zeros before the first) and the event, in hex.
CREATE TABLE audit_events (
    seq    INTEGER PRIMARY KEY,
    event  TEXT NOT NULL, -- JSON
    sha256 TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END;

CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never deleted'); END;

CREATE TABLE audit_checkpoints (
    id     INTEGER PRIMARY KEY,
    seq    INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    at     TEXT NOT NULL,
    mac    TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_checkpoints_are_not_changed BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are never changed'); END;

CREATE TRIGGER audit_checkpoints_are_not_deleted BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are never deleted'); END;

-- Ended executions whose outcome is not known to be in the audit log: as good as empty.
CREATE TABLE outcomes_owed (
    execution_id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
";

/// People: keys that are fetched with a claim token. A key may be missing now, which SQLite cannot say of a column that
/// is there.
const V4: &str = "
ALTER TABLE users RENAME TO users_before;

CREATE TABLE users (
    email                  TEXT NOT NULL PRIMARY KEY,
    role                   TEXT NOT NULL,
    key_sha256             TEXT UNIQUE, -- NULL until it is claimed, and again when it is replaced
    created_at             TEXT NOT NULL,
    revoked                INTEGER NOT NULL,
    key_expires_at         TEXT,
    last_used              TEXT,
    claim_sha256           TEXT UNIQUE, -- of the last claim token, used or not
    claim_until            TEXT, -- NULL once it is used
    claim_sealed_key       BLOB, -- a preset key, which only the claim token opens
    never_claimed          INTEGER NOT NULL,
    created_by_request_id  TEXT NOT NULL,
    modified_by_request_id TEXT NOT NULL
) STRICT;

INSERT INTO users (email, role, key_sha256, created_at, revoked, key_expires_at, never_claimed,
    created_by_request_id, modified_by_request_id)
SELECT email, role, key_sha256, created_at, revoked, key_expires_at, 0, created_by_request_id,
    modified_by_request_id FROM users_before;

DROP TABLE users_before;
";

/// What was in the audit log since some time. An index over what the events themselves say: there is nothing beside them
/// that could be changed.
const V5: &str = concat!("CREATE INDEX audit_events_by_time ON audit_events (", second!(), ");");

/// Images, and what an execution's was exactly.
const V6: &str = "
CREATE TABLE images (
    id         TEXT NOT NULL PRIMARY KEY,
    is_default INTEGER NOT NULL,
    document   TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX images_default ON images (is_default) WHERE is_default;

ALTER TABLE executions ADD COLUMN image_digest TEXT;
";

/// Secrets, and those of an execution.
const V7: &str = "
CREATE TABLE secrets (
    name         TEXT NOT NULL PRIMARY KEY,
    document     TEXT NOT NULL, -- JSON: everything but the value
    sealed_value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE executions ADD COLUMN secrets TEXT; -- JSON: names, and the versions that were given; NULL for none
";

/// The code that an execution starts in.
const V8: &str = "
ALTER TABLE executions ADD COLUMN code TEXT; -- JSON; NULL for none
";

/// The version of a file; 0 of an empty one.
pub(super) fn version(connection: &Connection) -> Result<usize, OpenProblem> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (version != 0 || tables != 0) {
        return Err(OpenProblem::NotOurs);
    }
    let known = MIGRATIONS.len();
    let version = usize::try_from(version).map_err(|_| OpenProblem::NotOurs)?;
    if version > known { Err(OpenProblem::Newer { version, known }) } else { Ok(version) }
}

/// Applies the migrations that a file lacks, all or none.
pub(super) fn migrate(
    connection: &mut Connection,
    version: usize,
    migrations: &[&str],
) -> Result<(), OpenProblem> {
    if version >= migrations.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    for migration in migrations.iter().skip(version) {
        transaction.execute_batch(migration)?;
    }
    audit_upgrade::chain_older_events(&transaction)?;
    transaction.pragma_update(None, "user_version", i64::try_from(migrations.len()).unwrap_or(0))?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(migrations: &[&str]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        let before = version(&connection).unwrap();
        migrate(&mut connection, before, migrations).unwrap();
        connection
    }

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Everything that is there today, and one step more.
    fn next() -> Vec<&'static str> {
        [MIGRATIONS, &["ALTER TABLE users ADD COLUMN note TEXT;"]].concat()
    }

    /// A user, and an audit event in the form of that version.
    fn fill(connection: &Connection, version: usize) {
        let user = "INSERT INTO users (email, role, key_sha256, created_at, revoked, created_by_request_id,
            modified_by_request_id{}) VALUES ('a@b.test', 'admin', '00', '2026-01-02T03:04:05.678Z', 0, 'x', 'x'{})";
        let (column, value) = if version < 4 { ("", "") } else { (", never_claimed", ", 0") };
        let user = user.replacen("{}", column, 1).replacen("{}", value, 1);
        let event = if version < 3 {
            "INSERT INTO audit_events (at, request_id, user, kind, action, resource) VALUES
                ('2026-01-02T03:04:05.678Z', '0f5ac3de00000000000000000000abcd', 'a@b.test', 'denied', 'run', 'system')"
        } else {
            "INSERT INTO audit_events VALUES (1, '{\"seq\":1,\"at\":\"2026-01-02T03:04:05.678Z\"}', '00')"
        };
        connection.execute_batch(&format!("{user};{event}")).unwrap();
    }

    #[test]
    fn a_file_of_every_version_ends_like_an_empty_one_and_loses_nothing() {
        let next = next();
        let from_empty = migrated(&next);
        for version in 1..next.len() {
            let mut older = migrated(&next[..version]);
            fill(&older, version);
            migrate(&mut older, version, &next).unwrap();
            assert_eq!(schema(&from_empty), schema(&older), "from {version}");
            let reached: i64 = older.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(usize::try_from(reached).unwrap(), next.len());
            let kept = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM audit_events),
                (SELECT count(*) FROM audit_events WHERE event LIKE '%03:04:05.678%')";
            let kept = older.query_row(kept, [], |row| <(i64, i64, i64)>::try_from(row)).unwrap();
            assert_eq!(kept, (1, 1, 1), "from {version}");
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let mut connection = migrated(&MIGRATIONS[..2]);
        let before = schema(&connection);
        let broken = [V1, V2, "CREATE TABLE extra (a TEXT);", "CREATE TABLE users (a TEXT);"];
        migrate(&mut connection, 2, &broken).unwrap_err();
        assert_eq!(schema(&connection), before);
        assert_eq!(version(&connection).unwrap(), 2);
    }
}
