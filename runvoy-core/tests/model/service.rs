//! The service's part: who calls what next. A copy of `src/runvoy`, kept by hand.

use std::sync::LazyLock;

use jiff::Timestamp;
use runvoy_core::id::Email;
use runvoy_core::locks::{LockAnswer, LockCommand, WhenHeld, step};
use runvoy_core::port::Claim;

use crate::protocol::{Bug, Protocol};
use crate::world::{CLIENTS, Execution, Status, Work, World, client_of, id_of};

/// Who asks; of no matter here, and costly to parse.
static USER: LazyLock<Email> = LazyLock::new(|| "dev@acme.test".parse().unwrap());

impl Protocol {
    fn has(self, bug: Bug) -> bool {
        self.seeded == Some(bug)
    }

    /// What a pass of `reconcile`, or the news of a task, would go about.
    pub(crate) fn to_mend(self, world: &World) -> Vec<Work> {
        let mut works = Vec::new();
        for (client, execution) in world.executions.iter().enumerate() {
            let holds = world.holder().is_some_and(|(who, _)| who == client);
            match execution.status {
                Status::Queued if !holds && !world.waits_in_line(client) => {
                    works.push(Work::Acquire { client, again: true });
                }
                Status::Starting | Status::Terminating if execution.exited => {
                    works.push(Work::End { client });
                }
                Status::Starting if execution.gate.decided().is_none() => {
                    let again = execution.pending == 0 || execution.starts < self.starts;
                    works.extend(again.then_some(Work::Start { client }));
                }
                Status::Terminating => works.push(Work::Stop { client }),
                Status::Ended if world.waits_in_line(client) => works.push(Work::Leave { client }),
                _ => {}
            }
        }
        if let Some((client, token)) = world.holder()
            && matches!(world.executions[client].status, Status::None | Status::Queued | Status::Ended)
        {
            works.push(Work::GiveTurn { client, token });
        }
        works.retain(|work| !world.works.contains(work));
        works
    }

    /// Does one step of a process, and says what it goes on with.
    pub(crate) fn effect(self, world: &mut World, work: Work) -> Option<Work> {
        match work {
            Work::Acquire { client, again } => self.acquire(world, client, again),
            Work::FreeIfOver { client, holder, token } => {
                Some(self.free_if_over(world, client, holder, token))
            }
            Work::TurnAway { client } => {
                end(world, client, &[Status::Queued]);
                None
            }
            Work::Begin { client, token } => self.begin(world, client, token),
            Work::Abandon { client, token } => Some(self.abandon(world, client, token)),
            Work::Mark { client, token } => Some(mark(world, client, token)),
            Work::TakeAway { token } => handed_over(&ask(world, &LockCommand::Abandon { token })),
            Work::Start { client } => {
                world.executions[client].starts += 1;
                world.executions[client].pending += 1;
                None
            }
            Work::GiveTurn { client, token } => give_turn(world, client, token),
            Work::Deny { client, token } => {
                end(world, client, &[Status::Queued]);
                // Unless somebody else has begun its turn meanwhile.
                let has_ended = world.executions[client].status == Status::Ended;
                (has_ended || self.has(Bug::DenialReleasesAlways)).then_some(Work::Release { token })
            }
            Work::Release { token } if self.has(Bug::HandOffInTwoWrites) => free_only(world, token),
            Work::Release { token } => handed_over(&ask(world, &LockCommand::Release { token })),
            Work::Promote => self.promote(world),
            Work::Free { client } => match world.executions[client].token {
                Some(token) => Some(Work::Release { token }),
                None => Some(Work::Leave { client }),
            },
            Work::Leave { client } => match ask(world, &LockCommand::Leave { execution: id_of(client) }) {
                LockAnswer::Holds(holder) => Some(Work::Release { token: holder.token }),
                _ => None,
            },
            Work::Stop { client } => match world.executions[client].gate.revoke() {
                Claim::Revoked => Some(Work::End { client }),
                Claim::Claimed => None,
            },
            Work::End { client } => {
                let ended = end(world, client, &[Status::Starting, Status::Terminating]);
                ended.then_some(Work::Free { client })
            }
        }
    }

    pub(crate) fn kill(self, world: &mut World, client: usize) {
        if end(world, client, &[Status::Queued]) {
            world.begin(Work::Free { client });
        } else {
            world.executions[client].status = Status::Terminating;
            world.begin(Work::Stop { client });
            if self.has(Bug::ReleaseBeforeRevoke) {
                world.begin(Work::Free { client });
            }
        }
    }
}

impl Protocol {
    fn acquire(self, world: &mut World, client: usize, again: bool) -> Option<Work> {
        let fails = self.last_fails && client == CLIENTS - 1;
        let command = LockCommand::Acquire {
            execution: id_of(client),
            user: USER.clone(),
            when_held: if fails { WhenHeld::Fail } else { WhenHeld::Queue },
            max_depth: CLIENTS,
        };
        match ask(world, &command) {
            LockAnswer::Granted(holder) if again => Some(Work::GiveTurn { client, token: holder.token }),
            LockAnswer::Granted(holder) => Some(Work::Begin { client, token: holder.token }),
            LockAnswer::Held(Some(holder)) => {
                let (holder, token) = (client_of(holder.execution), holder.token);
                Some(Work::FreeIfOver { client, holder, token })
            }
            LockAnswer::Held(None) => Some(Work::TurnAway { client }),
            _ => None,
        }
    }

    fn free_if_over(self, world: &mut World, client: usize, holder: usize, token: u64) -> Work {
        if !matches!(world.executions[holder].status, Status::None | Status::Ended) {
            return Work::TurnAway { client };
        }
        if let Some(next) = self.effect(world, Work::Release { token }) {
            world.begin(next);
        }
        Work::Acquire { client, again: true }
    }

    fn begin(self, world: &mut World, client: usize, token: u64) -> Option<Work> {
        let execution = &mut world.executions[client];
        match execution.status {
            Status::Queued => {
                execution.status = Status::Starting;
                execution.token = Some(token);
                execution.abandoned &= !self.has(Bug::AbandonEndsNobody);
                Some(Work::Start { client })
            }
            _ => (!keeps(execution, token)).then_some(Work::Release { token }),
        }
    }

    fn abandon(self, world: &mut World, client: usize, token: u64) -> Work {
        let is_ended = !self.has(Bug::AbandonEndsNobody) && end(world, client, &[Status::Queued]);
        if is_ended { Work::Free { client } } else { Work::Mark { client, token } }
    }

    fn promote(self, world: &mut World) -> Option<Work> {
        let first = world.lock.waiters.pop_front()?;
        let client = client_of(first.execution);
        // As if it had come to a free lock.
        let line = std::mem::take(&mut world.lock.waiters);
        let next = self.acquire(world, client, true);
        world.lock.waiters = line;
        next
    }
}

fn mark(world: &mut World, client: usize, token: u64) -> Work {
    let execution = &mut world.executions[client];
    execution.abandoned = !matches!(execution.status, Status::None | Status::Ended);
    Work::TakeAway { token }
}

fn handed_over(answer: &LockAnswer) -> Option<Work> {
    let LockAnswer::Released { next: Some(next) } = answer else { return None };
    Some(Work::GiveTurn { client: client_of(next.execution), token: next.token })
}

/// Asks the lock, which is core's own code.
fn ask(world: &mut World, command: &LockCommand) -> LockAnswer {
    step(&mut world.lock, command, Timestamp::UNIX_EPOCH)
}

fn give_turn(world: &World, client: usize, token: u64) -> Option<Work> {
    let execution = &world.executions[client];
    match execution.status {
        Status::Queued if execution.revoked => Some(Work::Deny { client, token }),
        Status::Queued => Some(Work::Begin { client, token }),
        _ => (!keeps(execution, token)).then_some(Work::Release { token }),
    }
}

/// Whether it runs under this grant.
fn keeps(execution: &Execution, token: u64) -> bool {
    matches!(execution.status, Status::Starting | Status::Terminating) && execution.token == Some(token)
}

/// A compare-and-set of the record.
pub(crate) fn end(world: &mut World, client: usize, from: &[Status]) -> bool {
    let execution = &mut world.executions[client];
    let is_done = from.contains(&execution.status);
    if is_done {
        execution.status = Status::Ended;
    }
    is_done
}

fn free_only(world: &mut World, token: u64) -> Option<Work> {
    let held = world.lock.holder.take_if(|holder| holder.token == token);
    (held.is_some() && !world.lock.waiters.is_empty()).then_some(Work::Promote)
}
