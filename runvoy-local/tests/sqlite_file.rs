//! What the SQLite stores owe beyond the suites: their file, and what happens to it.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use runvoy_core::audit::Verifier;
use runvoy_core::execution::{Execution, Patch};
use runvoy_core::id::{ExecutionId, RequestId};
use runvoy_core::port::{Created, ListQuery, SecretCreated, StoreError};
use runvoy_core::secrets::{Secret, SecretChange, SecretValue};
use runvoy_core::state::{Reason, Status};
use runvoy_core::testing::audit_log::some_event;
use runvoy_core::testing::execution_store::{new_execution, some_execution, some_request};
use runvoy_core::testing::secret_store::{some_change, some_secret};
use runvoy_local::sqlite::{MasterKey, OpenError, OpenProblem, SqliteConfig, SqliteStores};
use rusqlite::Connection;

fn open_with(directory: &Path, key: u8) -> Result<SqliteStores, OpenError> {
    let master_key = MasterKey::from_bytes([key; 32]);
    SqliteStores::open(SqliteConfig { path: file(directory), master_key })
}

fn open(directory: &Path) -> SqliteStores {
    open_with(directory, 7).unwrap()
}

fn file(directory: &Path) -> PathBuf {
    directory.join("runvoy.db")
}

fn refusal(directory: &Path) -> OpenProblem {
    open_with(directory, 7).expect_err("the file is refused").problem
}

async fn create(stores: &SqliteStores, record: Execution) -> Execution {
    let created = stores.execution_store().create(new_execution(record.clone())).await.unwrap();
    assert_eq!(created, Created::New);
    record
}

/// The files of the directory that hold `bytes`.
fn holding(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inserts_until_killed", "--nocapture", "--test-threads=1"])
            .env("RUNVOY_TEST_DIRECTORY", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ids = lines.map_while(Result::ok).filter(|line| line.parse::<ExecutionId>().is_ok());
        // Not always at the same point of a commit.
        let digit = ExecutionId::random().to_string().bytes().next().unwrap();
        acknowledged.extend(ids.by_ref().take(round * 100 + usize::from(digit)));
        child.kill().unwrap();
        acknowledged.extend(ids);
        child.wait().unwrap();
    }
    assert!(acknowledged.len() > 1500, "the children did insert");
    let stores = open(directory.path());
    let length = acknowledged.len();
    for id in acknowledged {
        let id = id.parse().unwrap();
        assert!(stores.execution_store().get(id).await.unwrap().is_some(), "{id} was acknowledged");
        assert!(stores.execution_store().request(id).await.unwrap().is_some(), "{id} has its request");
    }
    assert_is_a_chain(&stores, length).await;
}

/// The audit log is one chain, of an event for each acknowledged record at least.
async fn assert_is_a_chain(stores: &SqliteStores, length: usize) {
    let mut verifier = Verifier::new(Vec::new(), None, None);
    for record in stores.audit_log().read(0, usize::MAX).await.unwrap() {
        verifier.take(&record);
    }
    let report = verifier.finish();
    assert_eq!(report.problem, None);
    assert!(report.records >= length as u64);
}

/// The child of the test above; without its variable it is nobody's and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn inserts_until_killed() {
    let Some(directory) = std::env::var_os("RUNVOY_TEST_DIRECTORY") else { return };
    let stores = open(Path::new(&directory));
    println!();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let stores = stores.clone();
        clients.spawn(async move {
            loop {
                stores.audit_log().append(some_event()).await.unwrap();
                let record = create(&stores, some_execution()).await;
                // Who killed us reads no more; nothing is left to say then.
                if writeln!(std::io::stdout(), "{}", record.id).is_err() {
                    return;
                }
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn a_request_is_sealed_while_it_lives_and_gone_after() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let mut new = new_execution(some_execution());
    let id = new.record.id;
    new.request.env.insert("PASSWORD".to_owned(), "hunter2-hunter2".to_owned());
    stores.execution_store().create(new.clone()).await.unwrap();
    assert_eq!(stores.execution_store().request(id).await.unwrap(), Some(new.request));
    assert_eq!(holding(directory.path(), b"hunter2-hunter2"), Vec::<PathBuf>::new());
    assert_eq!(holding(directory.path(), b"PASSWORD"), Vec::<PathBuf>::new());

    let sealed = sealed_request(directory.path()).expect("it is there");
    assert_ne!(holding(directory.path(), &sealed), Vec::<PathBuf>::new());
    let end = Patch { reason: Some(Reason::StartFailed), ..Patch::to(Status::Failed) };
    stores.execution_store().transition(id, &[Status::Starting], &end).await.unwrap();
    assert_eq!(sealed_request(directory.path()), None);
    drop(stores);
    assert_eq!(holding(directory.path(), &sealed), Vec::<PathBuf>::new(), "not even as free space");
    assert!(!directory.path().join("runvoy.db-wal").exists());
}

fn sealed_request(directory: &Path) -> Option<Vec<u8>> {
    let connection = Connection::open(file(directory)).unwrap();
    connection.query_row("SELECT sealed_request FROM executions", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn another_master_key_is_refused_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let record = create(&open(directory.path()), some_execution()).await;
    let before = fs::read(file(directory.path())).unwrap();
    let error = open_with(directory.path(), 8).unwrap_err();
    assert!(matches!(error.problem, OpenProblem::WrongMasterKey));
    assert!(error.to_string().contains("runvoy.db") && error.to_string().contains("key"), "{error}");
    assert_eq!(fs::read(file(directory.path())).unwrap(), before);
    let stores = open(directory.path());
    assert_eq!(stores.execution_store().get(record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(stores.execution_store().request(record.id).await.unwrap(), Some(some_request()));
}

#[tokio::test]
async fn a_request_that_was_moved_to_another_record_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let first = create(&stores, some_execution()).await;
    let second = create(&stores, some_execution()).await;
    let connection = Connection::open(file(directory.path())).unwrap();
    let copy = "UPDATE executions SET sealed_request = (SELECT sealed_request FROM executions WHERE id = ?1)
        WHERE id = ?2";
    connection.execute(copy, (first.id.to_string(), second.id.to_string())).unwrap();
    let error = stores.execution_store().request(second.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { retryable: false, .. }));
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let connection = Connection::open(file(directory.path())).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(refusal(directory.path()), OpenProblem::Newer { version: 99, .. }));
}

#[test]
fn a_file_that_is_not_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(file(directory.path())).unwrap();
    connection.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(connection);
    assert!(matches!(refusal(directory.path()), OpenProblem::NotOurs));
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(file(directory.path()), "this is no database, ".repeat(1000)).unwrap();
    let before = fs::read(file(directory.path())).unwrap();
    assert!(matches!(refusal(directory.path()), OpenProblem::Damaged(_)));
    assert_eq!(fs::read(file(directory.path())).unwrap(), before);
    fs::remove_file(file(directory.path())).unwrap();
    drop(open(directory.path()));
    let mut bytes = fs::read(file(directory.path())).unwrap();
    bytes.iter_mut().skip(100).take(3900).for_each(|byte| *byte = 0xff);
    fs::write(file(directory.path()), bytes).unwrap();
    assert!(matches!(refusal(directory.path()), OpenProblem::Damaged(_)));
}

#[test]
fn a_file_has_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    assert!(matches!(refusal(directory.path()), OpenProblem::InUse));
    drop(stores);
    drop(open(directory.path()));
}

#[test]
fn a_missing_directory_is_said() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(&directory.path().join("missing")), OpenProblem::Failed(_)));
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    create(&stores, some_execution()).await;
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["runvoy.db", "runvoy.db-lock", "runvoy.db-shm", "runvoy.db-wal"]);
}

#[tokio::test]
async fn the_file_reads_sensibly() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let record = create(&stores, some_execution()).await;
    stores.audit_log().append(some_event()).await.unwrap();
    let connection = Connection::open(file(directory.path())).unwrap();
    let columns = "SELECT id || ' ' || status || ' ' || created_at || ' ' || timeout_seconds FROM executions";
    let row: String = connection.query_row(columns, [], |row| row.get(0)).unwrap();
    assert_eq!(row, format!("{} STARTING 2026-01-02T12:00:00.123Z 3600", record.id));
    let event = "SELECT seq || ' ' || (event ->> 'at') || ' ' || (event ->> 'kind') || ' ' || (event ->> 'address') FROM audit_events";
    let row: String = connection.query_row(event, [], |row| row.get(0)).unwrap();
    assert_eq!(row, "1 2026-01-02T03:04:05.678Z allowed 192.0.2.7");
    let wal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(wal, "wal");
}

#[tokio::test]
async fn finer_times_than_the_file_keeps_bound_a_listing_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let record = create(&stores, some_execution()).await;
    let finer = record.created_at + jiff::SignedDuration::from_nanos(1);
    let since = ListQuery { since: Some(finer), limit: 1, ..ListQuery::default() };
    assert_eq!(stores.execution_store().list(&since).await.unwrap().executions, []);
    let until = ListQuery { until: Some(finer), limit: 1, ..ListQuery::default() };
    assert_eq!(stores.execution_store().list(&until).await.unwrap().executions, [record]);
}

#[tokio::test]
async fn values_are_sealed_in_the_file_and_open_in_their_own_place_only() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let secrets = stores.secret_store();
    let [first, second, third, fourth] = [some_secret(), some_secret(), some_secret(), some_secret()];
    let values =
        ["hunter22-hunter22", "swordfish-swordfish", "opensesame-opensesame", "friend-friend-friend"];
    for (secret, value) in [&first, &second, &third, &fourth].into_iter().zip(values) {
        assert_eq!(
            secrets.create(secret.clone(), SecretValue::new(value)).await.unwrap(),
            SecretCreated::Made
        );
        assert_eq!(holding(directory.path(), value.as_bytes()), Vec::<PathBuf>::new());
    }
    let tamper = |sql: &str| {
        assert_eq!(Connection::open(file(directory.path())).unwrap().execute(sql, []).unwrap(), 1);
    };
    let reveal = async |secret: &Secret| secrets.reveal(&secret.name, secret.created_by_request_id).await;
    // A value in the place of another's, of an earlier version's, and of an earlier secret's of that name.
    let kept = "UPDATE secrets SET sealed_value = (SELECT sealed_value FROM secrets WHERE name = ";
    tamper(&format!("{kept}'{}') WHERE name = '{}'", first.name, second.name));
    let replace = |secret: &Secret, old: &str, new: &str| {
        let document = format!("replace(document, '{old}', '{new}')");
        tamper(&format!("UPDATE secrets SET document = {document} WHERE name = '{}'", secret.name));
    };
    replace(&third, r#""version":1"#, r#""version":2"#);
    let another = Secret { created_by_request_id: RequestId::random(), ..fourth.clone() };
    let made_by = |secret: &Secret| format!(r#""created_by_request_id":"{}""#, secret.created_by_request_id);
    replace(&fourth, &made_by(&fourth), &made_by(&another));
    assert_eq!(secrets.get(&third.name).await.unwrap().unwrap().version, 2);
    assert_eq!(secrets.get(&fourth.name).await.unwrap().unwrap(), another);
    for moved in [&second, &third, &another] {
        let error = reveal(moved).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { retryable: false, .. }), "{error}");
    }
    assert_eq!(reveal(&first).await.unwrap().unwrap().1.reveal(), values[0]);
    // A new value mends it.
    let change = SecretChange { value: Some(SecretValue::new("another-value")), ..some_change() };
    secrets.update(&second.name, second.created_by_request_id, change).await.unwrap().unwrap();
    assert_eq!(reveal(&second).await.unwrap().unwrap().1.reveal(), "another-value");
    drop(secrets);
    drop(stores);
    for value in values.into_iter().chain(["another-value"]) {
        assert_eq!(holding(directory.path(), value.as_bytes()), Vec::<PathBuf>::new());
    }
}
