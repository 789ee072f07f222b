//! What outlives a process: the lock's document, the records, the tasks; and what processes are in the middle of.

use runvoy_core::gate::StartGate;
use runvoy_core::id::ExecutionId;
use runvoy_core::locks::LockDocument;

pub(crate) const CLIENTS: usize = 3;

/// A record's status, as far as locks go: STARTING stands for RUNNING, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Status {
    /// Not asked for yet.
    #[default]
    None,
    Queued,
    Starting,
    Terminating,
    Ended,
}

/// One execution: its record, its gate, its tasks.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Execution {
    pub(crate) status: Status,
    pub(crate) token: Option<u64>,
    pub(crate) gate: StartGate,
    /// Times its task was started.
    pub(crate) starts: u8,
    /// Tasks that have not reached the gate.
    pub(crate) pending: u8,
    pub(crate) running: bool,
    pub(crate) exited: bool,
    pub(crate) runs: u8,
    /// Whoever asked for it is known no more.
    pub(crate) revoked: bool,
    /// That happened while it waited, before anybody had decided to start it.
    pub(crate) revoked_in_line: bool,
    /// The lock was taken from it although it may still run.
    pub(crate) abandoned: bool,
}

impl Execution {
    /// Whether its command runs or may still begin to.
    pub(crate) fn can_run(&self) -> bool {
        self.running || (self.pending > 0 && self.gate.decided().is_none())
    }
}

/// The next step of something that a process is in the middle of: one effect each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    /// Ask for the lock; `again` where the request that was authorised is long over.
    Acquire { client: usize, again: bool },
    /// The lock was granted: the record says so, if it still waits.
    Begin { client: usize, token: u64 },
    /// Start its task.
    Start { client: usize },
    /// It is the holder now: look whether it may and can be started.
    GiveTurn { client: usize, token: u64 },
    /// It may not.
    Deny { client: usize, token: u64 },
    /// The lock is held, and it does not wait: take the lock from a holder that has ended.
    FreeIfOver { client: usize, holder: usize, token: u64 },
    /// The lock is held, and it does not wait.
    TurnAway { client: usize },
    /// Somebody takes the lock from its holder: one that has not begun ends.
    Abandon { client: usize, token: u64 },
    /// The record of the holder says so.
    Mark { client: usize, token: u64 },
    /// The lock goes to whoever is next.
    TakeAway { token: u64 },
    /// Let go of the lock.
    Release { token: u64 },
    /// The second write of a hand-off that is none.
    Promote,
    /// It has ended: let go of what it held or waited for.
    Free { client: usize },
    /// Take it out of the line.
    Leave { client: usize },
    /// It was killed: close its gate, or have its task stopped.
    Stop { client: usize },
    /// No task of it can run: the record says that it has ended.
    End { client: usize },
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) lock: LockDocument,
    pub(crate) executions: [Execution; CLIENTS],
    /// In no order; sorted, so that the same is found to be the same.
    pub(crate) works: Vec<Work>,
    pub(crate) crashes: u8,
    pub(crate) kills: u8,
    pub(crate) abandons: u8,
    pub(crate) revocations: u8,
}

impl World {
    pub(crate) fn begin(&mut self, work: Work) {
        if let Err(at) = self.works.binary_search(&work) {
            self.works.insert(at, work);
        }
    }

    /// Who holds the lock: the client and its token.
    pub(crate) fn holder(&self) -> Option<(usize, u64)> {
        self.lock.holder.as_ref().map(|holder| (client_of(holder.execution), holder.token))
    }

    pub(crate) fn waits_in_line(&self, client: usize) -> bool {
        self.lock.position(id_of(client)).is_some()
    }
}

pub(crate) fn id_of(client: usize) -> ExecutionId {
    ExecutionId::from_u128(client as u128 + 1)
}

pub(crate) fn client_of(id: ExecutionId) -> usize {
    (0..CLIENTS).find(|client| id_of(*client) == id).expect("one of ours")
}
