//! Whatever is done to the audit log in the file, at random: either it shows, or nothing was changed.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use runvoy_core::audit::{AuditRecord, AuditReport, Checkpoint, Verifier};
use runvoy_core::testing::audit_log::some_event;
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use rusqlite::Connection;

const RECORDS: u64 = 40;
/// Checkpoints are at these records; what follows the last one is not anchored.
const ANCHORED: [u64; 3] = [10, 25, 35];
const LAST_ANCHOR: u64 = ANCHORED[2];

fn file(directory: &Path) -> PathBuf {
    directory.join("runvoy.db")
}

fn key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// A log of [`RECORDS`] records in a file that is closed, and what it holds. Made once, and copied.
fn written(directory: &Path) -> Vec<AuditRecord> {
    static MADE: OnceLock<(Vec<u8>, Vec<AuditRecord>)> = OnceLock::new();
    let (bytes, records) = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let records = write(directory.path());
        (fs::read(file(directory.path())).unwrap(), records)
    });
    fs::write(file(directory), bytes).unwrap();
    records.clone()
}

fn write(directory: &Path) -> Vec<AuditRecord> {
    let stores = SqliteStores::open(SqliteConfig { path: file(directory), master_key: key() }).unwrap();
    let log = stores.audit_log();
    runtime().block_on(async {
        for seq in 1..=RECORDS {
            assert_eq!(log.append(some_event()).await.unwrap(), seq);
            if ANCHORED.contains(&seq) {
                let head = log.head().await.unwrap();
                let checkpoint = Checkpoint::new(some_event().at, head, Some(&key().checkpoint_key()));
                log.add_checkpoint(&checkpoint).await.unwrap();
            }
        }
        log.read(0, 1000).await.unwrap()
    })
}

/// What a server that opens the file finds, and the records as it reads them; `None` where it cannot serve it.
fn verified(directory: &Path) -> Option<(AuditReport, Vec<AuditRecord>)> {
    let stores = SqliteStores::open(SqliteConfig { path: file(directory), master_key: key() }).ok()?;
    let log = stores.audit_log();
    runtime().block_on(async {
        let checkpoints = log.checkpoints().await.ok()?;
        let mut verifier = Verifier::new(checkpoints, Some(&key().checkpoint_key()), None);
        let records = log.read(0, 1000).await.ok()?;
        let _ = records.iter().all(|record| verifier.take(record));
        Some((verifier.finish(), records))
    })
}

/// Something that somebody who can write the file does to the log. Places are taken modulo what is there.
#[derive(Clone, Debug)]
enum Attack {
    Flip {
        row: usize,
        in_hash: bool,
        place: usize,
        bit: u8,
    },
    Drop {
        row: usize,
    },
    DropTail {
        rows: usize,
    },
    Swap {
        a: usize,
        b: usize,
    },
    Copy {
        row: usize,
        to: usize,
    },
    CloseUp,
    Renumber {
        row: usize,
        seq: i64,
    },
    /// Chains everything anew, as somebody would who knows how but has no key.
    Rechain,
}

fn attack() -> impl Strategy<Value = Attack> {
    let at = any::<usize>;
    prop_oneof![
        (at(), any::<bool>(), at(), 0_u8..8).prop_map(|(row, in_hash, place, bit)| Attack::Flip {
            row,
            in_hash,
            place,
            bit
        }),
        at().prop_map(|row| Attack::Drop { row }),
        (1_usize..40).prop_map(|rows| Attack::DropTail { rows }),
        (at(), at()).prop_map(|(a, b)| Attack::Swap { a, b }),
        (at(), at()).prop_map(|(row, to)| Attack::Copy { row, to }),
        Just(Attack::CloseUp),
        (at(), prop_oneof![-3_i64..1, 1_i64..60, Just(i64::MAX)])
            .prop_map(|(row, seq)| Attack::Renumber { row, seq }),
        Just(Attack::Rechain),
    ]
}

type Row = (i64, Vec<u8>, Vec<u8>);

impl Attack {
    fn on(&self, rows: &mut Vec<Row>) {
        let count = rows.len();
        if count == 0 {
            return;
        }
        match *self {
            Self::Flip { row, in_hash, place, bit } => {
                let row = &mut rows[row % count];
                let bytes = if in_hash { &mut row.2 } else { &mut row.1 };
                let length = bytes.len();
                bytes[place % length] ^= 1 << bit;
            }
            Self::Drop { row } => drop(rows.remove(row % count)),
            Self::DropTail { rows: cut } => rows.truncate(count.saturating_sub(cut)),
            Self::Swap { a, b } => {
                rows.swap(a % count, b % count);
                let (first, second) = (rows[a % count].0, rows[b % count].0);
                (rows[a % count].0, rows[b % count].0) = (second, first);
            }
            Self::Copy { row, to } => {
                let copy = rows[row % count].clone();
                rows.insert(to % count, copy);
                renumber(rows);
            }
            Self::CloseUp => renumber(rows),
            Self::Renumber { row, seq } if rows.iter().all(|other| other.0 != seq) => {
                rows[row % count].0 = seq;
            }
            Self::Renumber { .. } => {}
            Self::Rechain => rechain(rows),
        }
    }
}

fn renumber(rows: &mut [Row]) {
    rows.iter_mut().zip(1..).for_each(|(row, seq)| row.0 = seq);
}

fn rechain(rows: &mut [Row]) {
    rows.sort_by_key(|row| row.0);
    renumber(rows);
    let mut previous = runvoy_core::audit::GENESIS.to_owned();
    for row in rows {
        let text = String::from_utf8_lossy(&row.1).into_owned();
        let rest = text.split_once(',').map_or("}", |(_, rest)| rest);
        let text = format!("{{\"seq\":{},{rest}", row.0);
        previous = runvoy_core::audit::link(&previous, &text);
        (row.1, row.2) = (text.into_bytes(), previous.clone().into_bytes());
    }
}

fn without_triggers(directory: &Path) -> Connection {
    let attacker = Connection::open(file(directory)).unwrap();
    for table in ["audit_events", "audit_checkpoints"] {
        for done in ["changed", "deleted"] {
            attacker.execute_batch(&format!("DROP TRIGGER {table}_are_not_{done}")).unwrap();
        }
    }
    attacker
}

fn rows(attacker: &Connection) -> Vec<Row> {
    let select = "SELECT seq, CAST(event AS BLOB), CAST(sha256 AS BLOB) FROM audit_events ORDER BY seq";
    let mut statement = attacker.prepare(select).unwrap();
    statement.query_map([], |row| Row::try_from(row)).unwrap().map(Result::unwrap).collect()
}

fn put_back(attacker: &Connection, rows: &[Row]) {
    attacker.execute_batch("BEGIN; DELETE FROM audit_events").unwrap();
    let insert = "INSERT INTO audit_events VALUES (?1, CAST(?2 AS TEXT), CAST(?3 AS TEXT))";
    for row in rows {
        attacker.execute(insert, row.clone()).unwrap();
    }
    attacker.execute_batch("COMMIT").unwrap();
}

/// The number of the first record that is not as it was written.
fn first_change(before: &[Row], after: &[Row]) -> u64 {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    same as u64 + 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_the_records_is_found_in_its_place(attacks in prop::collection::vec(attack(), 1..5)) {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let attacker = without_triggers(directory.path());
        let before = rows(&attacker);
        let mut changed = before.clone();
        for attack in &attacks {
            attack.on(&mut changed);
        }
        put_back(&attacker, &changed);
        drop(attacker);
        changed.sort_by_key(|row| row.0);
        let first = first_change(&before, &changed);
        let (report, _) = verified(directory.path()).unwrap();
        let vouched_for = report.records - report.unanchored;
        prop_assert!(vouched_for < first, "what was changed is not vouched for");
        let problem = report.problem.as_ref().map(|problem| problem.seq);
        if attacks.iter().any(|attack| matches!(attack, Attack::Rechain)) {
            // What was chained anew shows at the next checkpoint, and is told from the last one that agrees.
            prop_assert!(problem.map_or(first > LAST_ANCHOR, |seq| seq > vouched_for), "{report:?} for {first}");
        } else if problem.is_some() || first <= LAST_ANCHOR {
            prop_assert_eq!(problem, Some(first), "{:?}", report);
        } else {
            // The end was cut off, behind the last checkpoint: nobody can tell, and that is told.
            prop_assert_eq!(report.records, first - 1);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_byte_that_changes_anywhere_in_the_file_changes_no_record_unseen(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..=255), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let before = written(directory.path());
        let mut bytes = fs::read(file(directory.path())).unwrap();
        for (place, change) in places {
            let place = place.index(bytes.len());
            bytes[place] ^= change;
        }
        fs::write(file(directory.path()), bytes).unwrap();
        // A file that cannot be served any more says so loudly enough.
        if let Some((report, records)) = verified(directory.path()) {
            // What follows the last checkpoint may be cut off unseen, as is said of it.
            let anchored = usize::try_from(LAST_ANCHOR).unwrap();
            let is_cut = records.len() >= anchored && before.starts_with(&records);
            prop_assert!(report.problem.is_some() || is_cut, "{report:?}");
        }
    }
}

#[test]
fn every_checkpoint_may_be_dropped_and_only_the_anchor_moves() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let attacker = without_triggers(directory.path());
    for (dropped, unanchored) in [(2, RECORDS - 25), (1, RECORDS - 10), (0, RECORDS)] {
        attacker
            .execute(
                "DELETE FROM audit_checkpoints WHERE seq = ?1",
                [i64::try_from(ANCHORED[dropped]).unwrap()],
            )
            .unwrap();
        let (report, _) = verified(directory.path()).unwrap();
        assert_eq!((report.unanchored, report.problem), (unanchored, None));
    }
}
