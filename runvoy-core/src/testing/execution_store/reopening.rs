use super::{created, keyed, run_to_the_end, some_execution, some_request};
use crate::execution::Execution;
use crate::id::ExecutionId;
use crate::port::{Created, ExecutionStore, ListQuery, LiveLimits, NewExecution};
use crate::state::Status;
use crate::testing::Subject;

/// Records, requests, keys and what counts against a limit are there after the store was closed and opened.
/// Passes where nothing outlives the store.
pub async fn everything_survives_reopening(subject: Subject<dyn ExecutionStore>) {
    let store = subject.shared();
    let live = some_execution();
    store.create(keyed(live.clone(), "k", 1)).await.unwrap();
    let ended = created(&store, some_execution()).await;
    run_to_the_end(&store, ended.id).await;
    let ended = store.get(ended.id).await.unwrap().unwrap();
    drop(store);
    let Some(subject) = subject.reopen() else { return };
    let store = subject.shared();
    assert_eq!(store.get(live.id).await.unwrap(), Some(live.clone()));
    assert_eq!(store.request(live.id).await.unwrap(), Some(some_request()));
    assert_eq!(store.get(ended.id).await.unwrap(), Some(ended.clone()));
    assert_eq!(store.request(ended.id).await.unwrap(), None);
    let again = Execution { id: ExecutionId::random(), ..live.clone() };
    let replay = store.create(keyed(again.clone(), "k", 1)).await.unwrap();
    assert_eq!(replay, Created::Existing(Box::new(live.clone())));
    let limits = LiveLimits { server: Some(1), user: None };
    let second = NewExecution { limits, ..keyed(again, "other", 1) };
    assert!(matches!(store.create(second).await.unwrap(), Created::TooMany { .. }));
    for (status, record) in [(Status::Starting, live), (Status::Succeeded, ended)] {
        let query = ListQuery { statuses: Some(vec![status]), limit: 10, ..ListQuery::default() };
        assert_eq!(store.list(&query).await.unwrap().executions, [record]);
    }
}
