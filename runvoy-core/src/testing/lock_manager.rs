//! What every [`LockManager`] owes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Subject;
use crate::id::{Email, ExecutionId, LockName};
use crate::locks::{Holder, LockAnswer, LockCommand, WhenHeld};
use crate::port::LockManager;

type Locks = Arc<dyn LockManager>;

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> Subject<dyn LockManager>` that answers a new, empty manager.
#[macro_export]
macro_rules! lock_manager_suite {
    ($make:expr) => {
        $crate::conformance_tests! {
            $make; lock_manager;
            shared:
                a_free_lock_is_granted_once
                the_same_execution_gets_the_same_answer
                a_line_is_served_in_the_order_of_asking
                a_stale_token_changes_nothing
                who_leaves_is_passed_over
                a_full_line_takes_nobody
                locks_do_not_know_each_other
                a_list_shows_what_is_in_use
                of_many_at_once_one_holds_and_all_get_their_turn;
            own:
                holders_waiters_and_tokens_survive_reopening;
        }
    };
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn user() -> Email {
    "locker@lock.test".parse().unwrap()
}

/// A name that no other case uses.
fn some_name() -> LockName {
    format!("suite/{}", ExecutionId::random()).parse().unwrap()
}

fn ask(execution: ExecutionId, when_held: WhenHeld) -> LockCommand {
    LockCommand::Acquire { execution, user: user(), when_held, max_depth: 100 }
}

async fn tell(locks: &Locks, name: &LockName, command: LockCommand) -> LockAnswer {
    locks.command(name, command, NOW).await.unwrap()
}

async fn grant(locks: &Locks, name: &LockName, execution: ExecutionId) -> Holder {
    match tell(locks, name, ask(execution, WhenHeld::Fail)).await {
        LockAnswer::Granted(holder) => holder,
        other => panic!("not granted: {other:?}"),
    }
}

async fn release(locks: &Locks, name: &LockName, token: u64) -> Option<Holder> {
    match tell(locks, name, LockCommand::Release { token }).await {
        LockAnswer::Released { next } => next,
        other => panic!("not released: {other:?}"),
    }
}

fn ids<const N: usize>() -> [ExecutionId; N] {
    std::array::from_fn(|_| ExecutionId::random())
}

/// Who comes second does not get it, and is told who has it.
pub async fn a_free_lock_is_granted_once(locks: &Locks) {
    let (name, [a, b]) = (some_name(), ids());
    let holder = grant(locks, &name, a).await;
    assert_eq!((holder.execution, holder.token, holder.user.clone()), (a, 1, user()));
    assert_eq!(tell(locks, &name, ask(b, WhenHeld::Fail)).await, LockAnswer::Held(Some(holder.clone())));
    assert_eq!(locks.show(&name).await.unwrap().holder, Some(holder));
}

/// A lost answer is asked for again.
pub async fn the_same_execution_gets_the_same_answer(locks: &Locks) {
    let (name, [a, b]) = (some_name(), ids());
    assert_eq!(grant(locks, &name, a).await, grant(locks, &name, a).await);
    let first = tell(locks, &name, ask(b, WhenHeld::Queue)).await;
    assert!(matches!(first, LockAnswer::Queued { position: 1, .. }));
    assert_eq!(tell(locks, &name, ask(b, WhenHeld::Queue)).await, first);
    assert_eq!(locks.show(&name).await.unwrap().waiters.len(), 1);
}

/// Each release makes the next in line the holder, with a greater token; nobody passes the line.
pub async fn a_line_is_served_in_the_order_of_asking(locks: &Locks) {
    let (name, [first, rest @ ..]) = (some_name(), ids::<6>());
    let mut token = grant(locks, &name, first).await.token;
    for (at, id) in rest.iter().enumerate() {
        let answer = tell(locks, &name, ask(*id, WhenHeld::Queue)).await;
        assert!(matches!(answer, LockAnswer::Queued { position, .. } if position == at + 1));
    }
    for id in rest {
        let next = release(locks, &name, token).await.expect("somebody waits");
        assert_eq!(next.execution, id);
        assert!(next.token > token);
        token = next.token;
        assert!(matches!(
            tell(locks, &name, ask(ExecutionId::random(), WhenHeld::Fail)).await,
            LockAnswer::Held(_)
        ));
    }
    assert_eq!(release(locks, &name, token).await, None);
    assert!(locks.show(&name).await.unwrap().is_free());
}

/// A release that comes late, or twice, takes the lock from nobody.
pub async fn a_stale_token_changes_nothing(locks: &Locks) {
    let (name, [a, b]) = (some_name(), ids());
    let first = grant(locks, &name, a).await.token;
    assert_eq!(release(locks, &name, first).await, None);
    let second = grant(locks, &name, b).await.token;
    assert!(second > first, "a token never goes back, also when the lock was free");
    for token in [first, 0, second + 1] {
        assert_eq!(tell(locks, &name, LockCommand::Release { token }).await, LockAnswer::Stale);
        assert_eq!(tell(locks, &name, LockCommand::Abandon { token }).await, LockAnswer::Stale);
    }
    assert_eq!(locks.show(&name).await.unwrap().holder.as_ref().map(|holder| holder.execution), Some(b));
}

/// Who leaves the line gets no turn; who holds the lock does not leave it that way.
pub async fn who_leaves_is_passed_over(locks: &Locks) {
    let (name, [a, b, c]) = (some_name(), ids());
    let holder = grant(locks, &name, a).await;
    tell(locks, &name, ask(b, WhenHeld::Queue)).await;
    tell(locks, &name, ask(c, WhenHeld::Queue)).await;
    let leave = |execution| LockCommand::Leave { execution };
    assert_eq!(tell(locks, &name, leave(b)).await, LockAnswer::Left);
    assert_eq!(tell(locks, &name, leave(b)).await, LockAnswer::Absent);
    assert_eq!(tell(locks, &name, leave(a)).await, LockAnswer::Holds(holder.clone()));
    let next = release(locks, &name, holder.token).await;
    assert_eq!(next.map(|next| next.execution), Some(c));
}

/// A line has the length that the asker allows.
pub async fn a_full_line_takes_nobody(locks: &Locks) {
    let (name, [a, b, c]) = (some_name(), ids());
    grant(locks, &name, a).await;
    let ask = |execution| LockCommand::Acquire {
        execution,
        user: user(),
        when_held: WhenHeld::Queue,
        max_depth: 1,
    };
    assert!(matches!(tell(locks, &name, ask(b)).await, LockAnswer::Queued { .. }));
    assert_eq!(tell(locks, &name, ask(c)).await, LockAnswer::QueueFull);
    assert_eq!(locks.show(&name).await.unwrap().waiters.len(), 1);
}

/// What happens to one lock is nothing to another, however alike their names.
pub async fn locks_do_not_know_each_other(locks: &Locks) {
    let (one, [a, b]) = (some_name(), ids());
    let two: LockName = format!("{one}/x").parse().unwrap();
    assert_eq!((grant(locks, &one, a).await.token, grant(locks, &two, b).await.token), (1, 1));
    assert_eq!(release(locks, &one, 1).await, None);
    assert!(locks.show(&two).await.unwrap().holder.is_some());
}

/// The list has what is held or waited for, and no lock that is free.
pub async fn a_list_shows_what_is_in_use(locks: &Locks) {
    let (held, freed, [a, b]) = (some_name(), some_name(), ids());
    grant(locks, &held, a).await;
    let token = grant(locks, &freed, b).await.token;
    release(locks, &freed, token).await;
    let list = locks.list().await.unwrap();
    let names: Vec<_> = list.iter().map(|(name, _)| name).collect();
    assert!(names.contains(&&held) && !names.contains(&&freed));
    assert!(names.is_sorted());
    let found = list.iter().find(|(name, _)| *name == held).map(|(_, lock)| lock.clone());
    assert_eq!(found, Some(locks.show(&held).await.unwrap()));
}

/// A history of many at once: never two holders, every token greater than the last, nobody forgotten.
pub async fn of_many_at_once_one_holds_and_all_get_their_turn(locks: &Locks) {
    const CLIENTS: usize = 24;
    let name = some_name();
    // Who was granted what, in the order in which it was seen.
    let history: Arc<Mutex<Vec<u64>>> = Arc::default();
    let holding = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let turns: Arc<BTreeMap<ExecutionId, Notify>> =
        Arc::new((0..CLIENTS).map(|_| (ExecutionId::random(), Notify::new())).collect());
    let mut clients = JoinSet::new();
    for id in turns.keys().copied() {
        let (locks, name) = (Arc::clone(locks), name.clone());
        let (history, holding, turns) = (Arc::clone(&history), Arc::clone(&holding), Arc::clone(&turns));
        clients.spawn(async move {
            let asked = tell(&locks, &name, ask(id, WhenHeld::Queue)).await;
            if !matches!(asked, LockAnswer::Granted(_)) {
                turns[&id].notified().await;
            }
            let held = locks.show(&name).await.unwrap().holder.clone().expect("it is mine");
            assert_eq!(held.execution, id);
            assert_eq!(holding.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "two hold it");
            tokio::task::yield_now().await;
            history.lock().unwrap().push(held.token);
            assert_eq!(holding.fetch_sub(1, std::sync::atomic::Ordering::SeqCst), 1);
            if let Some(next) = release(&locks, &name, held.token).await {
                turns[&next.execution].notify_one();
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let tokens: Vec<u64> = (1..=CLIENTS as u64).collect();
    assert_eq!(*history.lock().unwrap(), tokens, "each held it once, in the order of the tokens");
    assert!(locks.show(&name).await.unwrap().is_free());
}

/// Nothing of a lock is lost with the process. Needs a manager of its own.
pub async fn holders_waiters_and_tokens_survive_reopening(subject: Subject<dyn LockManager>) {
    let (name, free, [a, b, c]) = (some_name(), some_name(), ids());
    let locks = subject.shared();
    let token = grant(&locks, &name, a).await.token;
    tell(&locks, &name, ask(b, WhenHeld::Queue)).await;
    release(&locks, &free, grant(&locks, &free, c).await.token).await;
    let before = locks.show(&name).await.unwrap();
    drop(locks);
    let Some(subject) = subject.reopen() else { return };
    let locks = subject.shared();
    assert_eq!(locks.show(&name).await.unwrap(), before);
    assert_eq!(locks.list().await.unwrap(), [(name.clone(), before)]);
    assert_eq!(grant(&locks, &free, c).await.token, 2);
    assert_eq!(release(&locks, &name, token).await.map(|next| next.execution), Some(b));
}
