//! What an attacker who can write the database file can do to the audit log, and that it shows.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use runvoy_core::audit::{AuditFilter, AuditReport, Checkpoint, ProblemKind, Verifier};
use runvoy_core::port::AuditEvent;
use runvoy_core::testing::audit_log::some_event;
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use rusqlite::Connection;
use rusqlite::types::Value;

const RECORDS: i64 = 9;
/// Checkpoints are at this record and at the last.
const FIRST_CHECKPOINT: i64 = 4;

fn key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

fn open(directory: &Path) -> SqliteStores {
    SqliteStores::open(SqliteConfig { path: file(directory), master_key: key() }).unwrap()
}

fn file(directory: &Path) -> PathBuf {
    directory.join("runvoy.db")
}

async fn append(stores: &SqliteStores, records: i64) {
    for _ in 0..records {
        stores.audit_log().append(some_event()).await.unwrap();
    }
}

async fn anchor(stores: &SqliteStores) {
    let log = stores.audit_log();
    let head = log.head().await.unwrap();
    let checkpoint = Checkpoint::new(some_event().at, head, Some(&key().checkpoint_key()));
    log.add_checkpoint(&checkpoint).await.unwrap();
}

async fn verify(stores: &SqliteStores) -> AuditReport {
    verify_with(stores, &key()).await
}

async fn verify_with(stores: &SqliteStores, key: &MasterKey) -> AuditReport {
    let log = stores.audit_log();
    let mut verifier = Verifier::new(log.checkpoints().await.unwrap(), Some(&key.checkpoint_key()), None);
    for record in log.read(0, 1000).await.unwrap() {
        verifier.take(&record);
    }
    verifier.finish()
}

/// A file of nine anchored records, its stores, and a connection without the triggers.
async fn attacked() -> (tempfile::TempDir, SqliteStores, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    append(&stores, FIRST_CHECKPOINT).await;
    anchor(&stores).await;
    append(&stores, RECORDS - FIRST_CHECKPOINT).await;
    anchor(&stores).await;
    assert_eq!(verify(&stores).await.problem, None);
    let attacker = Connection::open(file(directory.path())).unwrap();
    for table in ["audit_events", "audit_checkpoints"] {
        for done in ["changed", "deleted"] {
            attacker.execute_batch(&format!("DROP TRIGGER {table}_are_not_{done}")).unwrap();
        }
    }
    (directory, stores, attacker)
}

async fn found(stores: &SqliteStores) -> Option<(u64, ProblemKind)> {
    verify(stores).await.problem.map(|problem| (problem.seq, problem.kind))
}

fn rows(attacker: &Connection) -> Vec<[Value; 3]> {
    let mut statement = attacker.prepare("SELECT seq, event, sha256 FROM audit_events ORDER BY seq").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn put_back(attacker: &Connection, rows: &[[Value; 3]]) {
    attacker.execute("DELETE FROM audit_events", []).unwrap();
    for row in rows {
        attacker.execute("INSERT INTO audit_events VALUES (?1, ?2, ?3)", row.clone()).unwrap();
    }
}

#[tokio::test]
async fn a_change_of_any_byte_of_any_record_is_found_where_it_is() {
    let (_directory, stores, attacker) = attacked().await;
    for (at, row) in rows(&attacker).iter().enumerate() {
        for (column, value) in [("event", &row[1]), ("sha256", &row[2])] {
            let Value::Text(text) = value else { panic!("{value:?}") };
            let set = format!("UPDATE audit_events SET {column} = CAST(?2 AS TEXT) WHERE seq = ?1");
            let seq = i64::try_from(at).unwrap() + 1;
            for place in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                // Some become another letter, some a capital of the same, some no text at all.
                bytes[place] ^= [0x01, 0x20, 0x80][place % 3];
                attacker.execute(&set, (seq, bytes)).unwrap();
                assert_eq!(found(&stores).await.map(|(seq, _)| seq), Some(at as u64 + 1), "{column} {place}");
            }
            attacker.execute(&set, (seq, text.as_bytes())).unwrap();
        }
    }
    assert_eq!(found(&stores).await, None, "all was put back");
}

#[tokio::test]
async fn a_text_that_means_the_same_is_a_change() {
    let (_directory, stores, attacker) = attacked().await;
    attacker.execute("UPDATE audit_events SET event = event || ' ' WHERE seq = 3", []).unwrap();
    assert_eq!(found(&stores).await, Some((3, ProblemKind::Changed)));
}

#[tokio::test]
async fn a_dropped_record_is_found_wherever_it_was() {
    let (_directory, stores, attacker) = attacked().await;
    let whole = rows(&attacker);
    for seq in 1..=RECORDS {
        attacker.execute("DELETE FROM audit_events WHERE seq = ?1", [seq]).unwrap();
        let kind = if seq == RECORDS { ProblemKind::MissingTail } else { ProblemKind::Missing };
        assert_eq!(found(&stores).await, Some((seq.unsigned_abs(), kind)));
        attacker.execute("UPDATE audit_events SET seq = seq - 1 WHERE seq > ?1", [seq]).unwrap();
        let kind = if seq == RECORDS { ProblemKind::MissingTail } else { ProblemKind::Moved };
        assert_eq!(found(&stores).await, Some((seq.unsigned_abs(), kind)), "numbers closed up");
        put_back(&attacker, &whole);
    }
    for left in 0..RECORDS {
        attacker.execute("DELETE FROM audit_events WHERE seq > ?1", [left]).unwrap();
        assert_eq!(found(&stores).await, Some((left.unsigned_abs() + 1, ProblemKind::MissingTail)));
        put_back(&attacker, &whole);
    }
    assert_eq!(found(&stores).await, None);
}

#[tokio::test]
async fn reordered_and_inserted_records_are_found() {
    let (_directory, stores, attacker) = attacked().await;
    let whole = rows(&attacker);
    for (a, b) in [(0, 1), (2, 6), (7, 8)] {
        let mut swapped = whole.clone();
        swapped.swap(a, b);
        let (first, second) = (swapped[a][0].clone(), swapped[b][0].clone());
        (swapped[a][0], swapped[b][0]) = (second, first);
        put_back(&attacker, &swapped);
        assert_eq!(found(&stores).await, Some((a as u64 + 1, ProblemKind::Moved)));
    }
    for place in [1_usize, 5, 9] {
        let mut longer = whole.clone();
        longer.insert(place - 1, whole[0].clone());
        for (at, row) in longer.iter_mut().enumerate() {
            row[0] = Value::Integer(i64::try_from(at).unwrap() + 1);
        }
        put_back(&attacker, &longer);
        // A copy of the first record in its own place is not wrong yet: the second is.
        let shows = place.max(2) as u64;
        assert_eq!(found(&stores).await, Some((shows, ProblemKind::Moved)));
    }
    put_back(&attacker, &whole);
    attacker.execute("INSERT INTO audit_events VALUES (-5, '{}', '')", []).unwrap();
    assert_eq!(found(&stores).await, Some((1, ProblemKind::Moved)));
}

#[tokio::test]
async fn a_log_that_is_written_anew_or_a_forged_checkpoint_is_found() {
    let (directory, stores, attacker) = attacked().await;
    let whole = rows(&attacker);
    // The attacker's own server, with another key, makes a chain that holds.
    put_back(&attacker, &whole[..5]);
    append(&stores, RECORDS - 5).await;
    assert_eq!(found(&stores).await, Some((5, ProblemKind::Rewritten)));
    let forge =
        "UPDATE audit_checkpoints SET sha256 = (SELECT sha256 FROM audit_events WHERE seq = 9) WHERE seq = 9";
    attacker.execute(forge, []).unwrap();
    assert_eq!(found(&stores).await, Some((9, ProblemKind::BadCheckpoint)));
    for change in ["at = '2026-01-02T03:04:05.679Z'", "at = 'x'", "mac = upper(mac)", "mac = ''", "seq = 8"] {
        attacker.execute(&format!("UPDATE audit_checkpoints SET {change} WHERE id = 1"), []).unwrap();
        assert_eq!(found(&stores).await.map(|(_, kind)| kind), Some(ProblemKind::BadCheckpoint), "{change}");
    }
    drop(directory);
}

#[tokio::test]
async fn a_damaged_checkpoint_row_blinds_nobody() {
    let (_directory, stores, attacker) = attacked().await;
    append(&stores, 2).await;
    for change in ["at = 'x'", "mac = upper(mac)", "mac = ''", "sha256 = ''", "seq = 3", "seq = -1"] {
        attacker.execute(&format!("UPDATE audit_checkpoints SET {change} WHERE id = 1"), []).unwrap();
        let report = verify(&stores).await;
        assert_eq!((report.records, report.checkpoints, report.unanchored), (11, 1, 2), "{change}");
        assert_eq!(report.unauthentic, 1, "{change}");
    }
    // The other one, too, so that nothing is anchored; the chain is checked all the same.
    attacker.execute("UPDATE audit_checkpoints SET mac = 'x'", []).unwrap();
    let report = verify(&stores).await;
    assert_eq!((report.records, report.unanchored, report.unauthentic), (11, 11, 2));
    attacker.execute("UPDATE audit_events SET event = event || ' ' WHERE seq = 3", []).unwrap();
    assert_eq!(found(&stores).await, Some((3, ProblemKind::Changed)));
}

#[tokio::test]
async fn a_lost_master_key_is_replaced_as_operations_says() {
    let (directory, stores, attacker) = attacked().await;
    drop(stores);
    let new = || MasterKey::from_bytes([8; 32]);
    let open = || SqliteStores::open(SqliteConfig { path: file(directory.path()), master_key: new() });
    assert!(open().unwrap_err().to_string().contains("docs/OPERATIONS.md"));
    let operations = include_str!("../../docs/OPERATIONS.md");
    let (_, after) = operations.split_once("sqlite3 \"$data/runvoy.db\" \"DELETE").unwrap();
    let (sql, _) = after.split_once('"').unwrap();
    attacker.execute_batch(&format!("DELETE{sql}")).unwrap();
    let stores = open().unwrap();
    append(&stores, 1).await;
    let log = stores.audit_log();
    let key = new().checkpoint_key();
    let report = verify_with(&stores, &new()).await;
    assert_eq!((report.records, report.unanchored, report.unauthentic), (10, 10, 2));
    assert_eq!(report.problem.unwrap().kind, ProblemKind::BadCheckpoint);
    let anchor = Checkpoint::new(some_event().at, log.head().await.unwrap(), Some(&key));
    log.add_checkpoint(&anchor).await.unwrap();
    let report = verify_with(&stores, &new()).await;
    assert_eq!((report.unanchored, report.unauthentic, report.problem), (0, 2, None));
}

#[tokio::test]
async fn forged_numbers_neither_hide_nor_go_in_a_circle() {
    let (_directory, stores, attacker) = attacked().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        INSERT INTO audit_events SELECT -i, '{}', '' FROM n";
    attacker.execute(many, []).unwrap();
    let log = stores.audit_log();
    for filter in
        [AuditFilter::default(), AuditFilter { user: Some(some_event().user), ..AuditFilter::default() }]
    {
        let page = log.find(&filter, 0, 1000).await.unwrap();
        let numbers: Vec<u64> = page.records.iter().map(|record| record.seq).collect();
        assert_eq!((numbers, page.next), ((0..=9).collect(), None));
    }
    assert_eq!(found(&stores).await, Some((1, ProblemKind::Moved)));
    attacker.execute("DELETE FROM audit_events WHERE seq < 1", []).unwrap();
    attacker.execute("INSERT INTO audit_events VALUES (9223372036854775807, '{}', '')", []).unwrap();
    let page = log.find(&AuditFilter::default(), 9, 1000).await.unwrap();
    assert_eq!((page.records.len(), page.next), (1, None));
    assert_eq!(log.read(u64::MAX, 10).await.unwrap(), []);
    assert_eq!(found(&stores).await, Some((10, ProblemKind::Missing)));
}

#[tokio::test]
async fn what_is_no_text_any_more_is_found() {
    let (_directory, stores, attacker) = attacked().await;
    let whole = rows(&attacker);
    let loose = "DROP TABLE audit_events;
        CREATE TABLE audit_events (seq INTEGER PRIMARY KEY, event, sha256);";
    attacker.execute_batch(loose).unwrap();
    for value in [
        Value::Null,
        Value::Integer(5),
        Value::Real(0.5),
        Value::Blob(vec![0xff]),
        Value::Text(String::new()),
    ] {
        for column in [1, 2] {
            let mut changed = whole.clone();
            changed[6][column] = value.clone();
            put_back(&attacker, &changed);
            assert_eq!(found(&stores).await, Some((7, ProblemKind::Changed)), "{value:?}");
        }
    }
}

#[tokio::test]
async fn a_byte_that_is_no_text_does_not_pass_for_the_sign_that_stands_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let stores = open(directory.path());
    let odd = AuditEvent { detail: Some("odd \u{FFFD}".to_owned()), ..some_event() };
    stores.audit_log().append(odd).await.unwrap();
    assert_eq!(found(&stores).await, None);
    let attacker = Connection::open(file(directory.path())).unwrap();
    attacker.execute_batch("DROP TRIGGER audit_events_are_not_changed").unwrap();
    let Value::Text(text) = rows(&attacker)[0][1].clone() else { panic!("no text") };
    let (before, after) = text.split_once('\u{FFFD}').unwrap();
    let bytes = [before.as_bytes(), &[0xff], after.as_bytes()].concat();
    attacker.execute("UPDATE audit_events SET event = CAST(?1 AS TEXT)", [bytes]).unwrap();
    assert_eq!(found(&stores).await, Some((1, ProblemKind::Changed)));
}

#[tokio::test]
async fn a_filter_by_time_skips_what_is_older_and_hides_nothing() {
    let (_directory, stores, attacker) = attacked().await;
    let log = stores.audit_log();
    let at = |text: &str| text.parse().unwrap();
    // A clock that was ahead for a while.
    for time in ["2030-01-01T00:00:00Z", "2026-03-01T00:00:00.5Z", "2026-03-01T00:00:01Z"] {
        log.append(AuditEvent { at: at(time), ..some_event() }).await.unwrap();
    }
    let since = |text: &str| AuditFilter { since: Some(at(text)), ..AuditFilter::default() };
    let numbers = async |filter: &AuditFilter| {
        let page = log.find(filter, 0, 1000).await.unwrap();
        page.records.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&since("2026-03-01T00:00:00.5Z")).await, [10, 11, 12]);
    assert_eq!(numbers(&since("2026-03-01T00:00:00.6Z")).await, [10, 12]);
    assert_eq!(numbers(&since("2031-01-01T00:00:00Z")).await, [] as [u64; 0]);
    attacker.execute("UPDATE audit_events SET event = '{' WHERE seq = 4", []).unwrap();
    assert_eq!(numbers(&since("2026-03-01T00:00:01Z")).await, [4, 10, 12]);
    assert_eq!(numbers(&since("2031-01-01T00:00:00Z")).await, [4]);
}

#[tokio::test]
async fn what_follows_the_last_checkpoint_is_told_to_be_unanchored() {
    let (_directory, stores, attacker) = attacked().await;
    append(&stores, 3).await;
    let report = verify(&stores).await;
    assert_eq!((report.records, report.checkpoints, report.unanchored, report.problem), (12, 2, 3, None));
    attacker.execute("DELETE FROM audit_events WHERE seq > 10", []).unwrap();
    let report = verify(&stores).await;
    assert_eq!(
        (report.unanchored, report.problem),
        (1, None),
        "nobody can tell: that is what the number says"
    );
}
