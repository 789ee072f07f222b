//! Rotations that end, and those that do not.

use std::path::Path;
use std::process::Command;

use runvoy_core::audit::{AuditRecord, Checkpoint, Head, Verifier};
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

fn rotation(old: Option<&MasterKey>, new: Option<&MasterKey>) -> Rotation {
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    Rotation { old: old.cloned(), new: new.cloned(), at, on_audit_problem: OnAuditProblem::Refuse }
}

fn rotate_in_file(dir: &DataDir) -> Result<Rotated, RotateError> {
    rotate_master_key(dir, rotation(None, None))
}

/// The names of all files that may hold a key.
fn key_files(dir: &DataDir) -> Vec<String> {
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("runvoy.db") && name != "server.lock");
    names.sort();
    names
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
fn holding(dir: &DataDir, bytes: &[u8]) -> Vec<PathBuf> {
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
    assert_ne!(holding(&dir, &sealed), Vec::<PathBuf>::new());
    let old_bytes = fs::read(dir.master_key()).unwrap();
    let rotated = rotate_in_file(&dir).unwrap();
    assert_eq!(rotated, Rotated::Now(Resealed { secrets: 1, requests: 1, audit_problem: None }));
    assert_eq!(fits(&dir.database(), &old).unwrap(), Fits::No);
    let new = settle(&dir).unwrap();
    assert_all_there(&dir, new, &filled).await;
    for bytes in [sealed.as_slice(), &old_bytes, b"hunter22-hunter22"] {
        assert_eq!(holding(&dir, bytes), Vec::<PathBuf>::new());
    }
    assert_eq!(key_files(&dir), ["master.key"]);
}

#[tokio::test]
async fn a_key_moves_out_of_its_file_and_on() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let filled = fill(&dir, settle(&dir).unwrap()).await;
    let [first, second] = [7, 8].map(|byte| MasterKey::from_bytes([byte; 32]));
    rotate_master_key(&dir, rotation(None, Some(&first))).unwrap();
    assert!(!dir.master_key().exists());
    assert_all_there(&dir, first.clone(), &filled).await;
    let error = rotate_master_key(&dir, rotation(Some(&first), None)).unwrap_err();
    assert!(matches!(error, RotateError::NoNewKey), "{error}");
    rotate_master_key(&dir, rotation(Some(&first), Some(&second))).unwrap();
    // Whoever was not told that it is done asks again.
    let again = rotate_master_key(&dir, rotation(Some(&first), Some(&second))).unwrap();
    assert_eq!(again, Rotated::Before);
    assert_all_there(&dir, second, &filled).await;
    let other = MasterKey::from_bytes([9; 32]);
    let wrong = rotate_master_key(&dir, rotation(Some(&first), Some(&other)));
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
    let error = rotate_in_file(&dir).unwrap_err().to_string();
    assert!(error.contains(&format!("the secret `{}`", other.name)), "{error}");
    assert_eq!(fits(&dir.database(), &old).unwrap(), Fits::Yes);
    let key = settle(&dir).unwrap();
    assert_eq!(key_files(&dir), ["master.key"], "what was begun is taken back");
    let secrets = stores(&dir, key).secret_store();
    assert!(secrets.reveal(&secret.name, secret.created_by_request_id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_that_a_killed_rotation_was_writing_does_not_stay() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let filled = fill(&dir, settle(&dir).unwrap()).await;
    for name in ["master.key", "master.key.next"] {
        let left = format!("{name}.{}", runvoy_core::id::RequestId::random());
        fs::copy(dir.master_key(), dir.path().join(left)).unwrap();
    }
    assert_all_there(&dir, settle(&dir).unwrap(), &filled).await;
    assert_eq!(key_files(&dir), ["master.key"]);
}

#[tokio::test]
async fn no_key_is_thrown_away_while_the_database_is_elsewhere() {
    // Cut off before the database had its new key, and after.
    for is_sealed in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let old = settle(&dir).unwrap();
        let filled = fill(&dir, old.clone()).await;
        let new = write_next(&dir).unwrap();
        if is_sealed {
            let Rotation { at, on_audit_problem, .. } = rotation(None, None);
            reseal(&dir.database(), &old, &new, at, on_audit_problem).unwrap();
        }
        let away = dir.path().join("runvoy.db.away");
        fs::rename(dir.database(), &away).unwrap();
        settle(&dir).unwrap();
        fs::rename(&away, dir.database()).unwrap();
        assert_all_there(&dir, settle(&dir).unwrap(), &filled).await;
        assert_eq!(key_files(&dir), ["master.key"]);
    }
}

/// What stands in the file of the old key, or would.
fn bytes_of_key(dir: &DataDir) -> Option<Vec<u8>> {
    fs::read(dir.master_key()).ok()
}

#[tokio::test]
async fn a_key_that_is_gone_is_missed_and_none_is_made_in_its_place() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let key = settle(&dir).unwrap();
    let filled = fill(&dir, key.clone()).await;
    let away = home.path().join("runvoy.db.key");
    fs::rename(dir.master_key(), &away).unwrap();
    // Somebody else's, that a rotation left: it is no reason to make one either.
    for next in [None, Some(MasterKey::from_bytes([9; 32]))] {
        if let Some(next) = next {
            next.write(&dir.next_master_key()).unwrap();
        }
        let before = key_files(&dir);
        let new = MasterKey::from_bytes([8; 32]);
        let refusals = [settle(&dir).map(drop), rotate_in_file(&dir).map(drop)];
        let to_another = rotate_master_key(&dir, rotation(None, Some(&new))).map(drop);
        for refused in refusals.into_iter().chain([to_another]) {
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with("there is no ") && error.contains("/master.key,"), "{error}");
        }
        assert_eq!(key_files(&dir), before);
    }
    fs::rename(&away, dir.master_key()).unwrap();
    assert_all_there(&dir, settle(&dir).unwrap(), &filled).await;
    assert_eq!(key_files(&dir), ["master.key"]);
}

#[tokio::test]
async fn a_database_that_was_told_to_forget_its_key_as_operations_says_gets_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let old = settle(&dir).unwrap();
    fill(&dir, old.clone()).await;
    fs::remove_file(dir.master_key()).unwrap();
    let operations = include_str!("../../../docs/OPERATIONS.md");
    let (_, after) = operations.split_once("sqlite3 \"$data/runvoy.db\" \"DELETE").unwrap();
    let (sql, _) = after.split_once('"').unwrap();
    let connection = rusqlite::Connection::open(dir.database()).unwrap();
    connection.execute_batch(&format!("DELETE{sql}")).unwrap();
    drop(connection);
    let new = settle(&dir).unwrap();
    assert!(!new.is(&old) && key_files(&dir) == ["master.key"]);
    drop(stores(&dir, new.clone()));
    assert_eq!(fits(&dir.database(), &new).unwrap(), Fits::Yes);
}

#[tokio::test]
async fn the_old_key_is_no_new_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let key = settle(&dir).unwrap();
    let filled = fill(&dir, key.clone()).await;
    let bytes = bytes_of_key(&dir);
    for old in [None, Some(&key)] {
        let error = rotate_master_key(&dir, rotation(old, Some(&key))).unwrap_err();
        assert!(matches!(error, RotateError::SameKey), "{error}");
        assert_eq!(bytes_of_key(&dir), bytes);
    }
    assert_all_there(&dir, key, &filled).await;
}

#[tokio::test]
async fn a_rotation_that_is_refused_leaves_no_file() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let key = settle(&dir).unwrap();
    let filled = fill(&dir, key.clone()).await;
    let right = home.path().join("runvoy.db.key");
    fs::rename(dir.master_key(), &right).unwrap();
    MasterKey::from_bytes([9; 32]).write(&dir.master_key()).unwrap();
    let wrong = rotate_in_file(&dir).unwrap_err().to_string();
    assert!(wrong.contains("its master key is another one"), "{wrong}");
    assert_eq!(key_files(&dir), ["master.key"]);
    fs::rename(&right, dir.master_key()).unwrap();
    assert_all_there(&dir, key.clone(), &filled).await;
    forge_audit_log(&dir, &key).await;
    let refused = rotate_in_file(&dir).unwrap_err();
    assert!(matches!(refused, RotateError::Reseal(_)), "{refused}");
    assert_eq!(key_files(&dir), ["master.key"]);
}

#[tokio::test]
async fn a_rotation_that_moved_the_key_out_of_its_file_and_was_not_told_so_is_done() {
    // Killed before the file was removed, and after.
    for step in [Step::Sealed, Step::Replaced] {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let filled = fill(&dir, settle(&dir).unwrap()).await;
        let bytes = fs::read(dir.master_key()).unwrap();
        let new = MasterKey::from_bytes([8; 32]);
        rotate_master_key(&dir, rotation(None, Some(&new))).unwrap();
        if step == Step::Sealed {
            MasterKey::from_bytes(bytes.try_into().unwrap()).write(&dir.master_key()).unwrap();
        }
        let again = rotate_master_key(&dir, rotation(None, Some(&new))).unwrap();
        assert_eq!(again, Rotated::Before);
        assert_eq!(key_files(&dir), Vec::<String>::new());
        assert_all_there(&dir, new, &filled).await;
    }
}

/// An audit log whose last record somebody wrote anew, hash and all, so that only a checkpoint tells.
async fn forge_audit_log(dir: &DataDir, key: &MasterKey) {
    let audit = stores(dir, key.clone()).audit_log();
    audit.append(runvoy_core::testing::audit_log::some_event()).await.unwrap();
    let head = audit.head().await.unwrap();
    let checkpoint = Checkpoint::new(rotation(None, None).at, head, Some(&key.checkpoint_key()));
    audit.add_checkpoint(&checkpoint).await.unwrap();
    drop(audit);
    let forged = AuditRecord::after(&Head::default(), "\"forged\":true}");
    let connection = rusqlite::Connection::open(dir.database()).unwrap();
    connection.execute_batch("DROP TRIGGER audit_events_are_not_changed").unwrap();
    let update = "UPDATE audit_events SET event = ?1, sha256 = ?2 WHERE seq = 1";
    assert_eq!(connection.execute(update, (forged.text, forged.hash)).unwrap(), 1);
    // As if another key had made it, which a rotation would leave behind: it agrees with what was forged.
    let other = Checkpoint::new(checkpoint.at, Head { seq: 1, hash: forged_head(&connection) }, None);
    connection.execute_batch("DROP TRIGGER audit_checkpoints_are_not_changed").unwrap();
    let update = "UPDATE audit_checkpoints SET sha256 = ?1, mac = ?2";
    connection.execute(update, (other.head.hash, "00".repeat(32))).unwrap();
}

fn forged_head(connection: &rusqlite::Connection) -> String {
    connection.query_row("SELECT sha256 FROM audit_events WHERE seq = 1", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_new_key_does_not_vouch_for_an_audit_log_that_the_old_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let dir = DataDir::open(home.path()).unwrap();
    let old = settle(&dir).unwrap();
    fill(&dir, old.clone()).await;
    forge_audit_log(&dir, &old).await;
    let error = rotate_in_file(&dir).unwrap_err();
    assert!(matches!(error, RotateError::Reseal(ResealError::AuditLog(_))), "{error}");
    assert!(error.to_string().contains("checkpoint of record 1"), "{error}");
    assert_eq!(settle(&dir).map(|key| fits(&dir.database(), &key).unwrap()).unwrap(), Fits::Yes);
    // Whoever wants it nevertheless has it in the log for good.
    let noted = Rotation { on_audit_problem: OnAuditProblem::Note, ..rotation(None, None) };
    let Rotated::Now(resealed) = rotate_master_key(&dir, noted).unwrap() else { panic!("it was not sealed") };
    let problem = resealed.audit_problem.unwrap();
    let log = stores(&dir, settle(&dir).unwrap()).audit_log().read(0, 100).await.unwrap();
    let last = &log.last().unwrap().text;
    assert!(last.contains("rotate_master_key") && last.contains(&problem.message), "{last}");
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
        assert_eq!(key_files(&dir), ["master.key"], "{step:?}");
        // And once more, to its end.
        rotate_in_file(&dir).unwrap();
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
    rotate(&dir, rotation(None, None), &mut die).unwrap();
}
