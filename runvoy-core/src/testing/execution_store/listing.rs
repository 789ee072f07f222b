use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::{Store, created, run_to_the_end, some_email, some_execution};
use crate::execution::{Execution, Patch};
use crate::id::{Email, ExecutionId};
use crate::limits;
use crate::port::{ListQuery, StoreError};
use crate::state::Status;

/// A time in which no other case creates anything.
fn some_time() -> Timestamp {
    let random = u128::from_str_radix(&ExecutionId::random().to_string(), 16).unwrap();
    Timestamp::from_millisecond(i64::try_from(random % (1 << 42)).unwrap()).unwrap()
}

fn millis(n: i64) -> SignedDuration {
    SignedDuration::from_millis(n)
}

fn of_user(user: &Email) -> ListQuery {
    ListQuery { user: Some(user.clone()), limit: limits::PAGE, ..ListQuery::default() }
}

/// Records of one user, three at each of several times, in the order of a listing.
async fn several(store: &Store, times: i64) -> Vec<Execution> {
    let (user, start) = (some_email(), some_time());
    let mut records = Vec::new();
    for n in (0..times).flat_map(|n| [n; 3]) {
        let record =
            Execution { created_by: user.clone(), created_at: start + millis(n), ..some_execution() };
        records.push(created(store, record).await);
    }
    newest_first(&mut records);
    records
}

fn newest_first(records: &mut [Execution]) {
    records.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.id)));
}

async fn listed(store: &Store, query: ListQuery) -> Vec<Execution> {
    let page = store.list(&query).await.unwrap();
    assert_eq!(page.next, None, "one page holds it all");
    page.executions
}

/// Reads page after page.
async fn paged(store: &Store, mut query: ListQuery) -> Vec<Execution> {
    let mut all = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.executions.len() <= query.limit);
        assert!(page.next.is_none() || page.executions.len() == query.limit, "only the last page is short");
        all.extend(page.executions);
        query.after = page.next;
        if query.after.is_none() {
            return all;
        }
    }
}

/// Newest first, and of one millisecond by id.
pub async fn a_listing_is_newest_first(store: &Store) {
    let records = several(store, 4).await;
    assert_eq!(listed(store, of_user(&records[0].created_by)).await, records);
}

/// Whatever the size of the pages, and although records share their times, and although others come meanwhile.
pub async fn pages_neither_skip_nor_repeat(store: &Store) {
    let records = several(store, 4).await;
    let (user, newest) = (records[0].created_by.clone(), records[0].created_at);
    for limit in [1, 2, 3, 5, 11] {
        assert_eq!(paged(store, ListQuery { limit, ..of_user(&user) }).await, records, "pages of {limit}");
    }
    let mut query = ListQuery { limit: 4, ..of_user(&user) };
    let first = store.list(&query).await.unwrap();
    created(store, Execution { created_by: user, created_at: newest + millis(1), ..some_execution() }).await;
    query.after = first.next;
    let rest = paged(store, query).await;
    assert_eq!([first.executions, rest].concat(), records);
}

/// The last page has no next, also when it is full.
pub async fn the_last_page_says_so(store: &Store) {
    let records = several(store, 2).await;
    let query = ListQuery { limit: 6, ..of_user(&records[0].created_by) };
    assert_eq!(store.list(&query).await.unwrap().next, None);
    let page = store.list(&ListQuery { limit: 5, ..query }).await.unwrap();
    let next = page.next.expect("one is left");
    assert_eq!((next.created_at, next.id), (records[4].created_at, records[4].id));
    assert_eq!(listed(store, of_user(&some_email())).await, []);
}

/// Those of one status, or of several, however the records came there.
pub async fn a_listing_by_status(store: &Store) {
    let mut records = several(store, 3).await;
    for n in [0, 4, 8] {
        run_to_the_end(store, records[n].id).await;
        records[n] = store.get(records[n].id).await.unwrap().unwrap();
    }
    store.transition(records[1].id, &Status::LIVE, &Patch::to(Status::Running)).await.unwrap();
    records[1] = store.get(records[1].id).await.unwrap().unwrap();
    let window = ListQuery {
        since: Some(records[8].created_at),
        until: Some(records[0].created_at + millis(1)),
        limit: limits::PAGE,
        ..ListQuery::default()
    };
    let choices = [
        vec![Status::Starting],
        vec![Status::Succeeded],
        vec![Status::Running, Status::Succeeded],
        vec![Status::Failed],
        vec![Status::Starting, Status::Starting],
    ];
    for statuses in choices {
        let expected: Vec<_> =
            records.iter().filter(|record| statuses.contains(&record.status)).cloned().collect();
        let query = ListQuery { statuses: Some(statuses.clone()), ..window.clone() };
        assert_eq!(listed(store, query.clone()).await, expected, "{statuses:?}");
        assert_eq!(paged(store, ListQuery { limit: 2, ..query }).await, expected, "{statuses:?}");
    }
    let all = ListQuery { statuses: Some(Status::ALL.to_vec()), ..window };
    assert_eq!(paged(store, ListQuery { limit: 2, ..all }).await, records);
}

/// A user's own, and nobody else's.
pub async fn a_listing_by_user(store: &Store) {
    let (mine, others) = (several(store, 1).await, several(store, 1).await);
    assert_eq!(listed(store, of_user(&mine[0].created_by)).await, mine);
    assert_eq!(listed(store, of_user(&others[0].created_by)).await, others);
}

/// Both filters together.
pub async fn a_listing_by_user_and_status(store: &Store) {
    let (mut mine, _others) = (several(store, 2).await, several(store, 2).await);
    run_to_the_end(store, mine[2].id).await;
    mine[2] = store.get(mine[2].id).await.unwrap().unwrap();
    let query = of_user(&mine[0].created_by);
    let ended = ListQuery { statuses: Some(vec![Status::Succeeded]), ..query.clone() };
    assert_eq!(listed(store, ended).await, [mine[2].clone()]);
    let live = ListQuery { statuses: Some(Status::LIVE.to_vec()), limit: 2, ..query };
    mine.remove(2);
    assert_eq!(paged(store, live).await, mine);
}

/// From a time on, up to but without another.
pub async fn a_listing_by_time(store: &Store) {
    let records = several(store, 4).await;
    let start = records[11].created_at;
    let query = |since: Option<i64>, until: Option<i64>| ListQuery {
        since: since.map(|n| start + millis(n)),
        until: until.map(|n| start + millis(n)),
        ..of_user(&records[0].created_by)
    };
    assert_eq!(listed(store, query(Some(1), Some(3))).await, records[3..9]);
    assert_eq!(listed(store, query(Some(3), None)).await, records[..3]);
    assert_eq!(listed(store, query(None, Some(1))).await, records[9..]);
    assert_eq!(listed(store, query(Some(2), Some(2))).await, []);
    assert_eq!(listed(store, query(Some(3), Some(1))).await, []);
    let paged_window = ListQuery { limit: 2, ..query(Some(1), Some(3)) };
    assert_eq!(paged(store, paged_window).await, records[3..9]);
    let without_user = ListQuery { user: None, ..query(Some(0), Some(4)) };
    assert_eq!(listed(store, without_user).await, records);
}

/// No status lets nothing pass.
pub async fn a_listing_by_no_status_is_empty(store: &Store) {
    let records = several(store, 1).await;
    let query = ListQuery { statuses: Some(Vec::new()), ..of_user(&records[0].created_by) };
    assert_eq!(listed(store, query).await, []);
}

/// A page has from 1 to 1,000 records.
pub async fn a_page_has_bounds(store: &Store) {
    for limit in [0, limits::PAGE + 1] {
        let error = store.list(&ListQuery { limit, ..ListQuery::default() }).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{limit}: {error:?}");
    }
}

/// A record whose status changes meanwhile stands in every listing by both statuses, once.
pub async fn a_record_that_moves_is_listed_once(store: &Store) {
    let records = several(store, 20).await;
    let query = ListQuery { statuses: Some(Status::ALL.to_vec()), ..of_user(&records[0].created_by) };
    let mut movers = JoinSet::new();
    for record in records.clone() {
        let store = Arc::clone(store);
        movers.spawn(async move { run_to_the_end(&store, record.id).await });
    }
    let expected: Vec<ExecutionId> = records.iter().map(|record| record.id).collect();
    let mut moving = true;
    while moving {
        moving = movers.try_join_next().is_some() || !movers.is_empty();
        let seen: Vec<_> = listed(store, query.clone()).await.into_iter().map(|record| record.id).collect();
        assert_eq!(seen, expected);
    }
}

/// Who was told that a record is there finds it in the next listing.
pub async fn an_acknowledged_record_is_listed(store: &Store) {
    let user = some_email();
    let mut creates = JoinSet::new();
    for _ in 0..32 {
        let record = Execution { created_by: user.clone(), ..some_execution() };
        let store = Arc::clone(store);
        creates.spawn(async move {
            let record = created(&store, record).await;
            assert!(listed(&store, of_user(&record.created_by)).await.contains(&record));
        });
    }
    creates.join_all().await;
}
