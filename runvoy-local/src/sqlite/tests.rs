//! What needs a look inside: batches, failures in them, and a full disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use runvoy_core::port::{AuditLog, Created, ExecutionStore, StoreError};
use runvoy_core::testing::audit_log::some_event;
use runvoy_core::testing::execution_store::{new_execution, some_execution, some_request};

use super::audit_log::SqliteAuditLog;
use super::database::Database;
use super::error::Failure;
use super::execution_store::SqliteExecutionStore;
use super::open;
use super::seal::Sealer;
use super::{MasterKey, SqliteConfig, SqliteStores};

fn database(directory: &Path) -> Arc<Database> {
    let sealer = Sealer::new(MasterKey::from_bytes([7; 32]));
    let (files, _) = open::open(&directory.join("runvoy.db"), &sealer).unwrap();
    Arc::new(Database::start(files).unwrap())
}

fn insert(name: &'static str) -> impl FnOnce(&rusqlite::Connection) -> Result<usize, Failure> + Send {
    move |connection| Ok(connection.execute("INSERT INTO meta (name, value) VALUES (?1, x'00')", [name])?)
}

async fn names(database: &Database) -> Vec<String> {
    let read = |connection: &rusqlite::Connection| {
        let mut statement =
            connection.prepare("SELECT name FROM meta WHERE name NOT LIKE 'master%' ORDER BY name")?;
        let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    };
    database.read(read).await.unwrap()
}

/// Keeps the writing thread busy, so that what is sent meanwhile becomes one batch.
fn hold(database: &Arc<Database>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), Failure>>) {
    let (release, released) = mpsc::channel();
    let (busy, is_busy) = mpsc::channel();
    let database = Arc::clone(database);
    let held = tokio::spawn(async move {
        let wait = move |_: &rusqlite::Connection| {
            busy.send(()).unwrap();
            released.recv().map_err(Failure::unreadable)
        };
        database.write(wait).await
    });
    is_busy.recv().unwrap();
    (release, held)
}

/// An end of the process leaves what the system was given: only a look inside tells whether the disk has it.
#[tokio::test]
async fn each_commit_reaches_the_disk_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let synchronous = |connection: &rusqlite::Connection| {
        Ok(connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))?)
    };
    let full = 2;
    assert_eq!(database.write(synchronous).await.unwrap(), full);
}

/// What another connection sees of the file now.
fn from_outside(directory: &Path) -> i64 {
    let connection = rusqlite::Connection::open(directory.join("runvoy.db")).unwrap();
    let count = "SELECT count(*) FROM meta WHERE name LIKE 'batch%'";
    connection.query_row(count, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_committed_together() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let (release, held) = hold(&database);
    let insert = |number: i64| {
        let directory = directory.path().to_owned();
        move |connection: &rusqlite::Connection| {
            let insert = "INSERT INTO meta (name, value) VALUES ('batch' || ?1, x'00')";
            connection.execute(insert, [number])?;
            Ok(from_outside(&directory))
        }
    };
    let mut waiting: Vec<_> = (0..32).map(|number| Box::pin(database.write(insert(number)))).collect();
    for write in &mut waiting {
        assert!(futures_util::poll!(write).is_pending());
    }
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    for write in waiting {
        assert_eq!(write.await.unwrap(), 0, "one of them was committed before the last was done");
    }
    assert_eq!(from_outside(directory.path()), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_operation_undoes_itself_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let (release, held) = hold(&database);
    let half = |connection: &rusqlite::Connection| {
        insert("half")(connection)?;
        insert("half")(connection)
    };
    let panicking = |connection: &rusqlite::Connection| -> Result<usize, Failure> {
        insert("panicked")(connection)?;
        panic!("on purpose")
    };
    let batch = async {
        tokio::join!(
            database.write(insert("first")),
            database.write(half),
            database.write(panicking),
            database.write(insert("last")),
            async { release.send(()).unwrap() },
        )
    };
    let (first, half, panicked, last, ()) = batch.await;
    assert!(matches!((first, last), (Ok(1), Ok(1))));
    assert!(matches!(half, Err(Failure::Sqlite(_))));
    assert!(matches!(panicked, Err(Failure::Panicked)));
    held.await.unwrap().unwrap();
    assert_eq!(names(&database).await, ["first", "last"]);
    let error = database.read(|_| -> Result<(), Failure> { panic!("on purpose") }).await;
    assert!(matches!(error, Err(Failure::Panicked)));
    assert_eq!(names(&database).await, ["first", "last"], "the threads are alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_done_and_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let (release, held) = hold(&database);
    let (seen, is_seen) = mpsc::channel();
    let mut dropped = Box::pin(database.write_then(insert("dropped"), move |_| seen.send(()).unwrap()));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    is_seen.recv().unwrap();
    assert_eq!(names(&database).await, ["dropped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let sealer = Arc::new(Sealer::new(MasterKey::from_bytes([7; 32])));
    let executions = SqliteExecutionStore::new(Arc::clone(&database), sealer);
    let audit = SqliteAuditLog::new(Arc::clone(&database));
    let pages = |limit: i64| {
        move |connection: &rusqlite::Connection| {
            let set = connection.pragma_update_and_check(None, "max_page_count", limit, |row| row.get(0));
            Ok(set.map(|_: i64| ())?)
        }
    };
    let kept = some_execution();
    assert_eq!(executions.create(new_execution(kept.clone())).await.unwrap(), Created::New);
    database.write(pages(1)).await.unwrap();
    let mut large = some_execution();
    large.command = "x".repeat(60_000);
    let (first, second, event) = tokio::join!(
        executions.create(new_execution(large.clone())),
        executions.create(new_execution(runvoy_core::execution::Execution {
            id: runvoy_core::id::ExecutionId::random(),
            ..large.clone()
        })),
        audit.append(runvoy_core::port::AuditEvent { detail: Some("x".repeat(60_000)), ..some_event() }),
    );
    for error in [first.unwrap_err(), second.unwrap_err(), event.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable { retryable: true, .. }), "{error:?}");
    }
    assert_eq!(executions.get(large.id).await.unwrap(), None);
    assert_eq!(executions.get(kept.id).await.unwrap(), Some(kept));
    database.write(pages(1_000_000)).await.unwrap();
    assert_eq!(executions.create(new_execution(large.clone())).await.unwrap(), Created::New);
    assert_eq!(executions.request(large.id).await.unwrap(), Some(some_request()));
}

#[tokio::test]
async fn audit_events_can_be_neither_changed_nor_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    SqliteAuditLog::new(Arc::clone(&database)).append(some_event()).await.unwrap();
    for sql in ["UPDATE audit_events SET event = 'a@b'", "DELETE FROM audit_events"] {
        let error = database.write(move |connection| Ok(connection.execute(sql, [])?)).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
}

#[tokio::test]
async fn a_version_1_file_opens_and_its_audit_events_are_chained() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("runvoy.db");
    let mut old = rusqlite::Connection::open(&path).unwrap();
    super::schema::migrate(&mut old, 0, &super::schema::MIGRATIONS[..1]).unwrap();
    let insert = "INSERT INTO audit_events (at, request_id, user, kind, action, resource, detail)
        VALUES ('2026-01-02T03:04:05.678Z', '0f5ac3de00000000000000000000abcd', 'a@b.test', 'denied', 'run', 'system', ?1)";
    for detail in ["first", "second"] {
        old.execute(insert, [detail]).unwrap();
    }
    drop(old);
    let master_key = MasterKey::from_bytes([7; 32]);
    let stores = SqliteStores::open(SqliteConfig { path, master_key }).unwrap();
    assert_eq!(stores.audit_log().append(some_event()).await.unwrap(), 3);
    let records = stores.audit_log().read(0, 10).await.unwrap();
    let mut verifier = runvoy_core::audit::Verifier::new(Vec::new(), None, None);
    assert!(records.iter().all(|record| verifier.take(record)));
    let first = records[0].event().unwrap();
    assert_eq!((first.detail.as_deref(), first.kind.as_str(), first.policy), (Some("first"), "denied", None));
}

#[tokio::test]
async fn a_filter_by_time_goes_by_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    for statement in [super::audit_find::NEXT_SINCE, super::audit_find::NEXT_WITHOUT] {
        let plan = format!("EXPLAIN QUERY PLAN {statement}");
        let explain = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare(&plan)?;
            let values = ["1", "2"].into_iter().take(statement.parameter_count());
            let values = rusqlite::params_from_iter(values);
            Ok(statement.query_row(values, |row| row.get::<_, String>(3))?)
        };
        let step = database.read(explain).await.unwrap();
        assert!(step.contains("INDEX audit_events_by_time"), "{step}");
    }
}
