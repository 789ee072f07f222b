//! What a lock does: one pure function that every store, the service and the model checker call.
//!
//! A lock belongs to its execution until that has ended. There is no lease: nothing here expires by a clock, and time
//! is only noted for people.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::execution::{Execution, Patch};
use crate::id::{Email, ExecutionId};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The execution.
    pub execution: ExecutionId,
    /// Who asked for it.
    pub user: Email,
    /// The fencing token of this grant: greater than that of every grant before.
    pub token: u64,
    /// When it was granted.
    pub since: Timestamp,
    /// The holder before, where the lock was taken from it without waiting for its end: it may still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_abandoned: Option<ExecutionId>,
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waiter {
    /// The execution.
    pub execution: ExecutionId,
    /// Who asked for it.
    pub user: Email,
    /// Its place in the order of asking.
    pub ticket: u64,
    /// When it began to wait.
    pub since: Timestamp,
}

/// All there is to know about one lock; stored as one document, and only as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockDocument {
    /// The last token that was granted. Never goes back.
    pub token: u64,
    /// The ticket of the next waiter.
    pub next_ticket: u64,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// Who waits for it, in the order of their tickets.
    pub waiters: VecDeque<Waiter>,
    /// Whom the next holder has to know of: it lost the lock and may still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<ExecutionId>,
}

/// What an execution does when the lock is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenHeld {
    /// Nothing: it is told who holds it.
    Fail,
    /// It waits in line.
    Queue,
}

/// Something asked of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockCommand {
    /// To hold it.
    Acquire {
        /// For this execution.
        execution: ExecutionId,
        /// Of this user.
        user: Email,
        /// What if it is not free.
        when_held: WhenHeld,
        /// How many may wait.
        max_depth: usize,
    },
    /// To let go of the grant with this token.
    Release {
        /// The token.
        token: u64,
    },
    /// To end the grant with this token although its execution may still run: the one way to break the promise that
    /// two holders never run at the same time.
    Abandon {
        /// The token.
        token: u64,
    },
    /// To wait no longer.
    Leave {
        /// The execution that waits.
        execution: ExecutionId,
    },
}

impl LockCommand {
    /// To hold it if it is free, and not to wait else.
    pub fn if_free(record: &Execution) -> Self {
        let (execution, user) = (record.id, record.created_by.clone());
        Self::Acquire { execution, user, when_held: WhenHeld::Fail, max_depth: 0 }
    }
}

/// What a lock answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockAnswer {
    /// The execution holds it.
    Granted(Holder),
    /// The execution waits.
    Queued {
        /// Its ticket.
        ticket: u64,
        /// How many stand before it, itself included: 1 is next.
        position: usize,
        /// Who holds it.
        holder: Option<Holder>,
    },
    /// It is not free, and the execution does not wait.
    Held(Option<Holder>),
    /// As many wait as may.
    QueueFull,
    /// The grant is over; the first waiter, if any, holds it now.
    Released {
        /// The new holder.
        next: Option<Holder>,
    },
    /// That grant was over before; nothing changed.
    Stale,
    /// The execution does not wait any more.
    Left,
    /// The execution does not wait but hold it; nothing changed.
    Holds(Holder),
    /// The execution neither waits for it nor holds it.
    Absent,
}

/// Does to a lock what is asked, and answers.
///
/// Asking again changes nothing: whoever holds it or waits for it gets the same answer as before. Nobody passes a line
/// that is not empty. Release and hand-off are one change.
///
/// ```
/// use runvoy_core::id::ExecutionId;
/// use runvoy_core::locks::{LockAnswer, LockCommand, LockDocument, WhenHeld, step};
///
/// let mut lock = LockDocument::default();
/// let now = jiff::Timestamp::UNIX_EPOCH;
/// let ask = |n| LockCommand::Acquire {
///     execution: ExecutionId::from_u128(n),
///     user: "dev@acme.test".parse().unwrap(),
///     when_held: WhenHeld::Queue,
///     max_depth: 100,
/// };
/// assert!(matches!(step(&mut lock, &ask(1), now), LockAnswer::Granted(holder) if holder.token == 1));
/// assert!(matches!(step(&mut lock, &ask(2), now), LockAnswer::Queued { position: 1, .. }));
/// let LockAnswer::Released { next: Some(next) } = step(&mut lock, &LockCommand::Release { token: 1 }, now) else {
///     panic!("somebody waits");
/// };
/// assert_eq!((next.execution, next.token), (ExecutionId::from_u128(2), 2));
/// ```
pub fn step(lock: &mut LockDocument, command: &LockCommand, now: Timestamp) -> LockAnswer {
    match command {
        LockCommand::Acquire { execution, user, when_held, max_depth } => {
            lock.acquire(*execution, user, *when_held, *max_depth, now)
        }
        LockCommand::Release { token } => match &lock.holder {
            Some(holder) if holder.token == *token => LockAnswer::Released { next: lock.hand_over(now) },
            _ => LockAnswer::Stale,
        },
        LockCommand::Abandon { token } => match lock.holder.take_if(|holder| holder.token == *token) {
            Some(holder) => {
                lock.abandoned = Some(holder.execution);
                LockAnswer::Released { next: lock.hand_over(now) }
            }
            None => LockAnswer::Stale,
        },
        LockCommand::Leave { execution } => lock.leave(*execution),
    }
}

/// A grant of a free lock to an execution that is recorded in the same step: the lock and the record, as both are then.
///
/// `None` where the lock is not free, and where the execution wants none or is not QUEUED.
pub fn grant_if_free(mut lock: LockDocument, record: &Execution) -> Option<(LockDocument, Execution)> {
    let wanted = record.lock.as_ref()?;
    let now = record.created_at;
    let LockAnswer::Granted(holder) = step(&mut lock, &LockCommand::if_free(record), now) else {
        return None;
    };
    let mut record = record.clone();
    record.apply(&Patch::granted(wanted, &holder, now)).ok()?;
    Some((lock, record))
}

impl LockDocument {
    /// Whether nobody holds it and nobody waits.
    pub fn is_free(&self) -> bool {
        self.holder.is_none() && self.waiters.is_empty()
    }

    /// The place in the line of an execution that waits: 1 is next.
    pub fn position(&self, execution: ExecutionId) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.execution == execution).map(|at| at + 1)
    }

    fn acquire(
        &mut self,
        execution: ExecutionId,
        user: &Email,
        when_held: WhenHeld,
        max_depth: usize,
        now: Timestamp,
    ) -> LockAnswer {
        if let Some(holder) = self.holder.as_ref().filter(|holder| holder.execution == execution) {
            return LockAnswer::Granted(holder.clone());
        }
        if let Some(answer) = self.waiting(execution) {
            return answer;
        }
        if self.is_free() {
            return LockAnswer::Granted(self.grant(execution, user.clone(), now));
        }
        if when_held == WhenHeld::Fail {
            return LockAnswer::Held(self.holder.clone());
        }
        if self.waiters.len() >= max_depth {
            return LockAnswer::QueueFull;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.push_back(Waiter { execution, user: user.clone(), ticket, since: now });
        LockAnswer::Queued { ticket, position: self.waiters.len(), holder: self.holder.clone() }
    }

    fn waiting(&self, execution: ExecutionId) -> Option<LockAnswer> {
        let position = self.position(execution)?;
        let ticket = self.waiters.get(position - 1)?.ticket;
        Some(LockAnswer::Queued { ticket, position, holder: self.holder.clone() })
    }

    fn grant(&mut self, execution: ExecutionId, user: Email, now: Timestamp) -> Holder {
        self.token += 1;
        let after_abandoned = self.abandoned.take();
        let holder = Holder { execution, user, token: self.token, since: now, after_abandoned };
        self.holder.insert(holder).clone()
    }

    fn hand_over(&mut self, now: Timestamp) -> Option<Holder> {
        self.holder = None;
        let next = self.waiters.pop_front()?;
        Some(self.grant(next.execution, next.user, now))
    }

    fn leave(&mut self, execution: ExecutionId) -> LockAnswer {
        if let Some(holder) = self.holder.as_ref().filter(|holder| holder.execution == execution) {
            return LockAnswer::Holds(holder.clone());
        }
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.execution != execution);
        if self.waiters.len() < before { LockAnswer::Left } else { LockAnswer::Absent }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command() -> impl Strategy<Value = LockCommand> {
        let execution = (0..6_u128).prop_map(ExecutionId::from_u128);
        let when_held = prop::sample::select(vec![WhenHeld::Fail, WhenHeld::Queue]);
        prop_oneof![
            3 => (execution.clone(), when_held).prop_map(|(execution, when_held)| LockCommand::Acquire {
                execution, user: "a@b".parse().unwrap(), when_held, max_depth: 3,
            }),
            2 => (0..20_u64).prop_map(|token| LockCommand::Release { token }),
            1 => (0..20_u64).prop_map(|token| LockCommand::Abandon { token }),
            1 => execution.prop_map(|execution| LockCommand::Leave { execution }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_line_is_kept(commands in prop::collection::vec(command(), 0..60)) {
            let mut lock = LockDocument::default();
            let now = Timestamp::UNIX_EPOCH;
            let mut granted = 0;
            for command in &commands {
                let before = lock.clone();
                let answer = step(&mut lock, command, now);
                // Nobody waits for a free lock, tickets stand in order, and nobody is in two places.
                prop_assert!(lock.holder.is_some() || lock.waiters.is_empty());
                prop_assert!(lock.waiters.iter().is_sorted_by(|a, b| a.ticket < b.ticket));
                let mut all: Vec<_> = lock.waiters.iter().map(|waiter| waiter.execution).collect();
                all.extend(lock.holder.as_ref().map(|holder| holder.execution));
                all.sort();
                prop_assert!(all.is_sorted_by(|a, b| a < b));
                prop_assert!(lock.waiters.len() <= 3);
                // Tokens grow with each grant; who lost the lock is told to the next holder, once.
                prop_assert!(lock.abandoned.is_none() || lock.holder.is_none());
                if let Some(holder) = &lock.holder {
                    prop_assert!(holder.token >= granted && holder.token == lock.token);
                    granted = holder.token;
                }
                // A new holder was the first in line, unless there was none.
                let (was, is) = (before.holder.as_ref(), lock.holder.as_ref());
                if let Some(is) = is.filter(|is| was.is_none_or(|was| was.token != is.token)) {
                    prop_assert!(before.waiters.front().is_none_or(|first| first.execution == is.execution));
                }
                // The same again is answered alike, save a release, which is then over.
                if matches!(command, LockCommand::Acquire { .. }) {
                    let after = lock.clone();
                    let again = step(&mut lock, command, now);
                    prop_assert_eq!(&again, &answer);
                    prop_assert_eq!(&lock, &after);
                }
            }
        }
    }

    #[test]
    fn a_document_reads_sensibly() {
        let mut lock = LockDocument::default();
        let command = LockCommand::Acquire {
            execution: ExecutionId::from_u128(1),
            user: "a@b".parse().unwrap(),
            when_held: WhenHeld::Fail,
            max_depth: 0,
        };
        step(&mut lock, &command, Timestamp::UNIX_EPOCH);
        let text = serde_json::to_string(&lock).unwrap();
        assert_eq!(
            text,
            r#"{"token":1,"next_ticket":0,"holder":{"execution":"00000000000000000000000000000001","user":"a@b","token":1,"since":"1970-01-01T00:00:00Z"},"waiters":[]}"#
        );
        assert_eq!(serde_json::from_str::<LockDocument>(&text).unwrap(), lock);
    }
}
