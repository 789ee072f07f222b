//! What every [`AuditLog`] owes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Subject;
use crate::audit::{AuditFilter, AuditRecord, Checkpoint, CheckpointKey, Head, Verifier};
use crate::id::RequestId;
use crate::port::{AuditEvent, AuditKind, AuditLog, AuditPage};

type Log = Arc<dyn AuditLog>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn AuditLog>` that answers a new, empty log.
#[macro_export]
macro_rules! audit_log_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; audit_log;
            shared:
                an_event_reads_back_as_it_was
                numbers_grow_in_the_order_of_appending
                events_appended_at_once_are_all_there
                reading_page_by_page_skips_and_repeats_nothing
                nothing_follows_the_last_record
                the_head_is_the_last_record
                what_fits_is_found_and_nothing_else;
            own:
                numbers_begin_at_one_and_go_on_after_reopening
                appends_at_once_make_one_chain
                checkpoints_are_kept_in_their_order;
        }
    };
}

/// An event that no other case appends.
pub fn some_event() -> AuditEvent {
    AuditEvent {
        at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        request_id: RequestId::random(),
        user: "auditor@audit.test".parse().unwrap(),
        address: Some("192.0.2.7".parse().unwrap()),
        kind: AuditKind::Allowed,
        action: "run".to_owned(),
        resource: "system".to_owned(),
        policy: Some("builtin".to_owned()),
        detail: Some("it's a \"detail\"; -- ü".to_owned()),
    }
}

async fn record(log: &Log, seq: u64) -> AuditRecord {
    log.read(seq - 1, 1).await.unwrap().into_iter().next().expect("the record is there")
}

/// Every field of an event is kept, whatever its kind, and what is absent stays absent.
pub async fn an_event_reads_back_as_it_was(log: &Log) {
    let bare = AuditEvent { address: None, policy: None, detail: None, ..some_event() };
    let far = AuditEvent { address: Some("2001:db8::7".parse().unwrap()), ..some_event() };
    let kinds = [AuditKind::Allowed, AuditKind::Denied, AuditKind::Outcome];
    let kinds = kinds.map(|kind| AuditEvent { kind, ..some_event() });
    for event in [bare, far].into_iter().chain(kinds) {
        let seq = log.append(event.clone()).await.unwrap();
        let record = record(log, seq).await;
        assert_eq!((record.seq, record.event().unwrap()), (seq, event));
    }
}

/// A later event has a greater number.
pub async fn numbers_grow_in_the_order_of_appending(log: &Log) {
    let mut last = 0;
    for _ in 0..10 {
        let seq = log.append(some_event()).await.unwrap();
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
}

/// Events appended at once get numbers of their own, and there is no gap between them.
pub async fn events_appended_at_once_are_all_there(log: &Log) {
    let mut appends = JoinSet::new();
    for _ in 0..32 {
        let (log, event) = (Arc::clone(log), some_event());
        appends.spawn(async move { (log.append(event.clone()).await.unwrap(), event) });
    }
    let mut mine = appends.join_all().await;
    mine.sort_by_key(|(seq, _)| *seq);
    let (first, last) = (mine[0].0, mine[mine.len() - 1].0);
    let records = log.read(first - 1, usize::try_from(last - first + 1).unwrap()).await.unwrap();
    let numbers: Vec<u64> = records.iter().map(|record| record.seq).collect();
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "without gaps");
    for (seq, event) in mine {
        assert!(records.iter().any(|record| record.seq == seq && record.event().unwrap() == event));
    }
}

/// Page after page gives every record once, oldest first.
pub async fn reading_page_by_page_skips_and_repeats_nothing(log: &Log) {
    let first = log.append(some_event()).await.unwrap();
    let mut last = first;
    for _ in 0..10 {
        last = log.append(some_event()).await.unwrap();
    }
    let mut after = first - 1;
    while after < last {
        let page = log.read(after, 3).await.unwrap();
        assert!((1..=3).contains(&page.len()));
        for record in page {
            assert_eq!(record.seq, after + 1);
            after = record.seq;
        }
    }
}

/// After the last record there is nothing, and asking for it is no error.
pub async fn nothing_follows_the_last_record(log: &Log) {
    assert_eq!(log.read(u64::MAX, 10).await.unwrap(), []);
    assert_eq!(log.find(&AuditFilter::default(), u64::MAX, 10).await.unwrap(), AuditPage::default());
    let seq = log.append(some_event()).await.unwrap();
    assert_eq!(log.read(seq - 1, 0).await.unwrap(), []);
}

/// Every record that fits is found, in order and once, whatever the pages; by each condition, and by all at once.
pub async fn what_fits_is_found_and_nothing_else(log: &Log) {
    let wanted = AuditEvent {
        user: format!("u{}@audit.test", RequestId::random()).parse().unwrap(),
        action: format!("action-{}", RequestId::random()),
        at: "2026-05-06T07:08:09.5Z".parse().unwrap(),
        ..some_event()
    };
    let first = log.head().await.unwrap().seq;
    let earlier = AuditEvent { at: "2026-05-06T07:08:09.4Z".parse().unwrap(), ..wanted.clone() };
    let other = AuditEvent { request_id: RequestId::random(), ..wanted.clone() };
    let mut seqs = Vec::new();
    for event in [&earlier, &wanted, &other, &some_event(), &wanted, &earlier] {
        seqs.push(log.append(event.clone()).await.unwrap());
    }
    let of = |places: &[usize]| places.iter().map(|at| seqs[*at]).collect::<Vec<_>>();
    let none = AuditFilter::default;
    let user = AuditFilter { user: Some(wanted.user.clone()), ..none() };
    let action = AuditFilter { action: Some(wanted.action.clone()), ..none() };
    let request = AuditFilter { request: Some(wanted.request_id), ..none() };
    let since = AuditFilter { since: Some(wanted.at), ..user.clone() };
    let all = AuditFilter { action: action.action.clone(), request: request.request, ..since.clone() };
    let cases = [
        (user, of(&[0, 1, 2, 4, 5])),
        (action, of(&[0, 1, 2, 4, 5])),
        (request, of(&[0, 1, 4, 5])),
        (since, of(&[1, 2, 4])),
        (all, of(&[1, 4])),
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 1000] {
            assert_eq!(find_all(log, &filter, first, limit).await, expected, "{filter:?} by {limit}");
        }
    }
    let late = AuditFilter { since: Some("9000-01-01T00:00:00Z".parse().unwrap()), ..none() };
    assert_eq!(find_all(log, &late, first, 10).await, [] as [u64; 0]);
}

async fn find_all(log: &Log, filter: &AuditFilter, after: u64, limit: usize) -> Vec<u64> {
    let (mut found, mut next) = (Vec::new(), Some(after));
    while let Some(after) = next {
        let page = log.find(filter, after, limit).await.unwrap();
        assert!(page.records.len() <= limit && page.next.is_none_or(|next| next > after), "{page:?}");
        found.extend(page.records.iter().map(|record| record.seq));
        next = page.next;
    }
    found
}

/// The first number is 1, and a reopened log goes on where it was. Needs a log of its own.
pub async fn numbers_begin_at_one_and_go_on_after_reopening(subject: Subject<dyn AuditLog>) {
    let events = [some_event(), some_event()];
    assert_eq!(subject.port().append(events[0].clone()).await.unwrap(), 1);
    let Some(subject) = subject.reopen() else { return };
    assert_eq!(subject.port().append(events[1].clone()).await.unwrap(), 2);
    let records = subject.port().read(0, 10).await.unwrap();
    let seen: Vec<_> = records.into_iter().map(|record| record.event().unwrap()).collect();
    assert_eq!(seen, events);
}

/// The head is what was appended last.
pub async fn the_head_is_the_last_record(log: &Log) {
    let seq = log.append(some_event()).await.unwrap();
    let head = log.head().await.unwrap();
    assert!(head.seq >= seq);
    assert_eq!(record(log, head.seq).await.head(), head);
}

/// Whatever is appended at once, also after reopening, is one chain without a fork. Needs a log of its own.
pub async fn appends_at_once_make_one_chain(subject: Subject<dyn AuditLog>) {
    assert_eq!(subject.port().head().await.unwrap(), Head::default());
    append_many(subject.port()).await;
    assert_chain(subject.port(), 32).await;
    let Some(subject) = subject.reopen() else { return };
    append_many(subject.port()).await;
    assert_chain(subject.port(), 64).await;
}

async fn append_many(log: &dyn AuditLog) {
    let append = |_| async { log.append(some_event()).await.unwrap() };
    futures_util::future::join_all((0..32).map(append)).await;
}

async fn assert_chain(log: &dyn AuditLog, length: u64) {
    let mut verifier = Verifier::new(Vec::new(), None, None);
    for record in log.read(0, 1000).await.unwrap() {
        verifier.take(&record);
    }
    let report = verifier.finish();
    assert_eq!((report.records, report.problem), (length, None));
}

/// Checkpoints are kept as they were given, across reopening. Needs a log of its own.
pub async fn checkpoints_are_kept_in_their_order(subject: Subject<dyn AuditLog>) {
    assert_eq!(subject.port().checkpoints().await.unwrap(), []);
    assert_eq!(subject.port().last_checkpoint().await.unwrap(), None);
    let key = CheckpointKey::derive(b"a key of a test");
    let mut kept = Vec::new();
    for _ in 0..3 {
        subject.port().append(some_event()).await.unwrap();
        let head = subject.port().head().await.unwrap();
        let checkpoint = Checkpoint::new(some_event().at, head, Some(&key));
        subject.port().add_checkpoint(&checkpoint).await.unwrap();
        kept.push(checkpoint);
    }
    assert_eq!(subject.port().checkpoints().await.unwrap(), kept);
    assert_eq!(subject.port().last_checkpoint().await.unwrap().as_ref(), kept.last());
    let Some(subject) = subject.reopen() else { return };
    assert_eq!(subject.port().checkpoints().await.unwrap(), kept);
    assert!(kept.iter().all(|checkpoint| checkpoint.is_authentic(&key)));
}
