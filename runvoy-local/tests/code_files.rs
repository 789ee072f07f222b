//! Uploaded code in files, seen from the file system.

#![cfg(feature = "process")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::code::{CodeDigest, CodeHasher};
use runvoy_core::port::{CodeBody, CodeError, CodeStore as _};
use runvoy_local::code_files::CodeFiles;

fn now() -> Timestamp {
    SystemClock.now()
}

fn digest(bytes: &[u8]) -> CodeDigest {
    let mut hasher = CodeHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

fn body(bytes: &[u8]) -> CodeBody {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_archive_is_a_file_that_is_called_by_its_digest_and_nothing_else_is_there() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("code");
    let store = CodeFiles::open(&dir, 0).unwrap();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let wanted = digest(&bytes);
    for _ in 0..2 {
        store.put(wanted, body(&bytes), 5_000_000, now()).await.unwrap();
        assert_eq!(names(&dir), [wanted.to_string()]);
    }
    let path = dir.join(wanted.to_string());
    assert!(fs::read(&path).unwrap() == bytes);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&path)), (0o700, 0o444));
    for (other, limit) in [(digest(b"other"), 5_000_000), (digest(b"another"), 4_999_999)] {
        store.put(other, body(&bytes), limit, now()).await.unwrap_err();
        assert_eq!(names(&dir), [wanted.to_string()]);
    }
    let half = store.put(digest(b"x"), body(&bytes).chain(stream::pending()).boxed(), 5_000_000, now());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), half).await.is_err());
    assert_eq!(names(&dir), [wanted.to_string()], "whoever goes leaves nothing");
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_gone_at_the_next_start_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = CodeFiles::open(dir.path(), 0).unwrap();
    let kept = digest(b"kept");
    store.put(kept, body(b"kept"), 100, now()).await.unwrap();
    drop(store);
    fs::write(dir.path().join(".part-7"), "half of an archive").unwrap();
    fs::write(dir.path().join("an admin's own.txt"), "notes").unwrap();
    let store = CodeFiles::open(dir.path(), 0).unwrap();
    let mut left = names(dir.path());
    left.sort();
    assert_eq!(left, [kept.to_string(), "an admin's own.txt".to_owned()]);
    assert_eq!(store.remove_unused(Timestamp::MAX).await.unwrap(), [kept]);
    assert_eq!(names(dir.path()), ["an admin's own.txt"], "what is no archive is nobody's to remove");
}

#[tokio::test]
async fn nothing_is_taken_where_the_disk_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let store = CodeFiles::open(dir.path(), 101).unwrap();
    let error = store.put(digest(b"x"), body(b"x"), 100, now()).await.unwrap_err();
    assert!(
        matches!(&error, CodeError::NoRoom { message } if message.contains("make room there")),
        "{error}"
    );
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_damaged_archive_is_gone_once_somebody_doubts_it_and_can_be_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = CodeFiles::open(dir.path(), 0).unwrap();
    let (whole, damaged) = (digest(b"whole"), digest(b"an archive"));
    store.put(whole, body(b"whole"), 100, now()).await.unwrap();
    for damage in [&b"an archivf"[..], b"an arch", b""] {
        store.put(damaged, body(b"an archive"), 100, now()).await.unwrap();
        let path = dir.path().join(damaged.to_string());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, damage).unwrap();
        for digest in [whole, damaged] {
            store.doubt(digest).await.unwrap();
        }
        let found = tokio::join!(store.find(damaged, now()), store.find(damaged, now()));
        assert_eq!((found.0.unwrap(), found.1.unwrap()), (None, None));
        assert_eq!(names(dir.path()), [whole.to_string()]);
        assert_eq!(store.find(whole, now()).await.unwrap(), Some(5));
    }
    store.doubt(damaged).await.unwrap();
    store.put(damaged, body(b"an archive"), 100, now()).await.unwrap();
    assert_eq!(store.find(damaged, now()).await.unwrap(), Some(10));
}
