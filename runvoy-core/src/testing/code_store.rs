//! What every [`CodeStore`] owes.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::Subject;
use crate::code::{CodeDigest, CodeHasher};
use crate::id::RequestId;
use crate::port::{CodeBody, CodeError, CodeStore};

type Store = Arc<dyn CodeStore>;

/// More than any archive here has.
const LIMIT: u64 = 1 << 30;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn CodeStore>` that answers a new, empty store.
#[macro_export]
macro_rules! code_store_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; code_store;
            shared:
                an_archive_is_found_by_its_digest
                an_archive_may_be_empty_and_of_many_pieces
                what_is_not_what_it_is_called_leaves_nothing
                what_is_too_large_leaves_nothing
                what_breaks_off_leaves_nothing
                whoever_goes_leaves_nothing_or_the_whole
                of_many_at_once_all_get_the_same
                what_is_doubted_without_reason_stays;
            own:
                what_nobody_uses_is_removed_and_what_is_used_stays
                archives_survive_reopening;
        }
    };
}

fn noon() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn after_noon(hours: i64) -> Timestamp {
    noon() + SignedDuration::from_hours(hours)
}

/// Bytes that no other case knows.
fn some_bytes(len: usize) -> Vec<u8> {
    let mark = RequestId::random().to_string();
    mark.bytes().cycle().take(len).collect()
}

fn digest(bytes: &[u8]) -> CodeDigest {
    let mut hasher = CodeHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Result<Bytes, crate::port::BoxError>> {
    bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn body(bytes: &[u8]) -> CodeBody {
    stream::iter(pieces(bytes, 1000)).boxed()
}

async fn put(store: &Store, bytes: &[u8], now: Timestamp) -> CodeDigest {
    let digest = digest(bytes);
    assert_eq!(store.put(digest, body(bytes), LIMIT, now).await.unwrap(), bytes.len() as u64);
    digest
}

/// What was put is found with its size, also if it is put again, and nothing else is.
pub async fn an_archive_is_found_by_its_digest(store: &Store) {
    let bytes = some_bytes(12_345);
    assert_eq!(store.find(digest(&bytes), noon()).await.unwrap(), None);
    for _ in 0..2 {
        let digest = put(store, &bytes, noon()).await;
        assert_eq!(store.find(digest, noon()).await.unwrap(), Some(12_345));
    }
    assert_eq!(store.find(digest(&bytes[1..]), noon()).await.unwrap(), None);
}

/// How the bytes come makes no difference.
pub async fn an_archive_may_be_empty_and_of_many_pieces(store: &Store) {
    let empty = store.put(digest(b""), stream::empty().boxed(), LIMIT, noon()).await.unwrap();
    assert_eq!((empty, store.find(digest(b""), noon()).await.unwrap()), (0, Some(0)));
    for size in [1, 7, 4096, 3_000_000] {
        let bytes = some_bytes(2_500_000.min(size * 5000));
        let digest = digest(&bytes);
        let body = stream::iter(pieces(&bytes, size)).boxed();
        let len = bytes.len() as u64;
        assert_eq!(store.put(digest, body, len, noon()).await.unwrap(), len, "as many as may be");
        assert_eq!(store.find(digest, noon()).await.unwrap(), Some(len));
    }
}

/// Bytes of another digest are refused, and neither of the two is there.
pub async fn what_is_not_what_it_is_called_leaves_nothing(store: &Store) {
    let (bytes, other) = (some_bytes(5000), some_bytes(5000));
    let error = store.put(digest(&bytes), body(&other), LIMIT, noon()).await.unwrap_err();
    match error {
        CodeError::OtherBytes { wanted, found } => {
            assert_eq!((wanted, found), (digest(&bytes), digest(&other)));
        }
        other => panic!("{other}"),
    }
    for digest in [digest(&bytes), digest(&other)] {
        assert_eq!(store.find(digest, noon()).await.unwrap(), None);
    }
    put(store, &bytes, noon()).await;
}

/// One byte over the limit is too many.
pub async fn what_is_too_large_leaves_nothing(store: &Store) {
    let bytes = some_bytes(5000);
    let error = store.put(digest(&bytes), body(&bytes), 4999, noon()).await.unwrap_err();
    assert!(matches!(error, CodeError::TooLarge { limit: 4999 }), "{error}");
    assert_eq!(store.find(digest(&bytes), noon()).await.unwrap(), None);
}

/// An upload that fails on its way, also one that had all of the bytes.
pub async fn what_breaks_off_leaves_nothing(store: &Store) {
    let bytes = some_bytes(5000);
    for sent in [0, 3, 5] {
        let mut some = pieces(&bytes, 1000);
        some.truncate(sent);
        some.push(Err("the line is cut".into()));
        let error = store.put(digest(&bytes), stream::iter(some).boxed(), LIMIT, noon()).await.unwrap_err();
        assert!(matches!(error, CodeError::BrokenOff { .. }), "{error}");
        assert_eq!(store.find(digest(&bytes), noon()).await.unwrap(), None);
    }
}

/// Of an upload that is dropped at any moment there is nothing, or all.
pub async fn whoever_goes_leaves_nothing_or_the_whole(store: &Store) {
    let bytes = some_bytes(3_000_000);
    let digest = digest(&bytes);
    let never = stream::iter(pieces(&bytes, 1_000_000)).chain(stream::pending()).boxed();
    let put = store.put(digest, never, LIMIT, noon());
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(50), put).await;
    assert!(dropped.is_err(), "the end never came");
    assert_eq!(store.find(digest, noon()).await.unwrap(), None);
    for polls in 0..20 {
        let put = store.put(digest, stream::iter(pieces(&bytes, 100_000)).boxed(), LIMIT, noon());
        let mut put = std::pin::pin!(put);
        for _ in 0..polls {
            if futures_util::poll!(put.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let found = store.find(digest, noon()).await.unwrap();
    assert!(found.is_none_or(|size| size == bytes.len() as u64), "{found:?}");
    self::put(store, &bytes, noon()).await;
}

/// Who uploads the same at once is told the same.
pub async fn of_many_at_once_all_get_the_same(store: &Store) {
    let bytes = Arc::new(some_bytes(300_000));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, bytes) = (Arc::clone(store), Arc::clone(&bytes));
        tasks.spawn(async move { put(&store, &bytes, noon()).await });
    }
    let all = tasks.join_all().await;
    assert!(all.iter().all(|one| *one == digest(&bytes)));
    assert_eq!(store.find(digest(&bytes), noon()).await.unwrap(), Some(300_000));
}

/// Whatever was thought of an archive, one that is right is there for all who ask, and nothing else appears.
pub async fn what_is_doubted_without_reason_stays(store: &Store) {
    let (bytes, absent) = (Arc::new(some_bytes(300_000)), digest(&some_bytes(10)));
    let digest = put(store, &bytes, noon()).await;
    for _ in 0..2 {
        store.doubt(digest).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(store);
            tasks.spawn(async move { store.find(digest, noon()).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await, [Some(300_000); 8]);
    }
    store.doubt(digest).await.unwrap();
    put(store, &bytes, noon()).await;
    store.doubt(absent).await.unwrap();
    assert_eq!(store.find(absent, noon()).await.unwrap(), None);
}

/// A use is a find or a put; what was used at the time that is asked about stays.
pub async fn what_nobody_uses_is_removed_and_what_is_used_stays(subject: Subject<dyn CodeStore>) {
    let store = subject.shared();
    let [old, found, again, new] = [1, 2, 3, 4].map(|n| some_bytes(1000 * n));
    for bytes in [&old, &found, &again] {
        put(&store, bytes, noon()).await;
    }
    assert!(store.find(digest(&found), after_noon(2)).await.unwrap().is_some());
    put(&store, &again, after_noon(2)).await;
    put(&store, &new, after_noon(3)).await;
    // A clock that goes back makes nothing older, and neither does an upload that began before somebody looked.
    assert!(store.find(digest(&new), noon()).await.unwrap().is_some());
    put(&store, &new, noon()).await;
    assert_eq!(store.remove_unused(noon()).await.unwrap(), []);
    assert_eq!(store.remove_unused(after_noon(2)).await.unwrap(), [digest(&old)]);
    assert_eq!(store.find(digest(&old), after_noon(2)).await.unwrap(), None);
    let mut removed = store.remove_unused(after_noon(3)).await.unwrap();
    removed.sort();
    let mut expected = [digest(&found), digest(&again)];
    expected.sort();
    assert_eq!(removed, expected);
    assert_eq!(store.find(digest(&new), after_noon(3)).await.unwrap(), Some(4000));
    put(&store, &old, after_noon(3)).await;
}

/// What is durable is there again, with the time of its last use, and what was not finished is not.
pub async fn archives_survive_reopening(subject: Subject<dyn CodeStore>) {
    let (old, new, part) = (some_bytes(1000), some_bytes(2000), some_bytes(3000));
    let store = subject.shared();
    put(&store, &old, noon()).await;
    put(&store, &new, noon()).await;
    store.find(digest(&new), after_noon(2)).await.unwrap();
    let never = stream::iter(pieces(&part, 1000)).chain(stream::pending()).boxed();
    let half = store.put(digest(&part), never, LIMIT, noon());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), half).await.is_err());
    drop(store);
    let Some(subject) = subject.reopen() else { return };
    let store = subject.shared();
    assert_eq!(store.find(digest(&part), noon()).await.unwrap(), None);
    assert_eq!(store.remove_unused(after_noon(1)).await.unwrap(), [digest(&old)]);
    assert_eq!(store.find(digest(&new), after_noon(2)).await.unwrap(), Some(2000));
}
