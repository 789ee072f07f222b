//! Who does what next: the service's part of the protocol, and everything that may happen to it.

use std::sync::LazyLock;

use jiff::Timestamp;
use runvoy_core::id::Email;
use runvoy_core::locks::{LockAnswer, LockCommand, WhenHeld, step};
use runvoy_core::port::Claim;
use stateright::{Model, Property};

use crate::heal;
use crate::world::{CLIENTS, Status, Work, World, client_of, id_of};
use crate::{NEVER_TWO, NOBODY_FORGOTTEN};

/// Processes that may be in the middle of something for a pass over the records to begin something else.
const AT_ONCE: usize = 2;

/// Who asks; of no matter here, and costly to parse.
static USER: LazyLock<Email> = LazyLock::new(|| "dev@acme.test".parse().unwrap());

/// How much may go wrong in one story.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) crashes: u8,
    pub(crate) kills: u8,
    pub(crate) revocations: u8,
    /// Times that a task may be started.
    pub(crate) starts: u8,
    /// Seeded: the lock is freed, and given to the next in a second write.
    pub(crate) hand_off_in_two_writes: bool,
    /// Seeded: who is denied lets go of the lock, also when it was started meanwhile.
    pub(crate) deny_releases_always: bool,
    /// Seeded: who is killed lets go of the lock before its gate is closed.
    pub(crate) release_before_revoke: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            crashes: 0,
            kills: 0,
            revocations: 0,
            starts: 1,
            hand_off_in_two_writes: false,
            deny_releases_always: false,
            release_before_revoke: false,
        }
    }
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The next client asks: its execution is recorded.
    Ask,
    /// A process goes on.
    Do(Work),
    /// A process dies before an effect.
    DieBefore(Work),
    /// A process dies after an effect, and the answer is lost.
    DieAfter(Work),
    /// A task reaches the gate.
    Claim(usize),
    /// A task dies before it does.
    NeverClaims(usize),
    /// A command ends.
    Exit(usize),
    /// Somebody kills an execution, or takes the lock from it.
    Kill(usize),
    /// Whoever asked for it is known no more.
    Revoke(usize),
    /// News of a task, or a pass over the records, finds something to do.
    Mend(Work),
}

impl Model for Protocol {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let Self { crashes, kills, revocations, .. } = *self;
        vec![World { crashes, kills, revocations, ..World::default() }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if world.executions.iter().any(|execution| execution.status == Status::None) {
            events.push(Event::Ask);
        }
        for work in &world.works {
            events.push(Event::Do(*work));
            if world.crashes > 0 {
                events.extend([Event::DieBefore(*work), Event::DieAfter(*work)]);
            }
        }
        for (client, execution) in world.executions.iter().enumerate() {
            if execution.pending > 0 {
                events.push(Event::Claim(client));
                events.extend((execution.starts < self.starts).then_some(Event::NeverClaims(client)));
            }
            events.extend(execution.running.then_some(Event::Exit(client)));
            if matches!(execution.status, Status::Queued | Status::Starting) {
                events.extend((world.kills > 0).then_some(Event::Kill(client)));
            }
            if execution.status == Status::Queued && !execution.revoked {
                events.extend((world.revocations > 0).then_some(Event::Revoke(client)));
            }
        }
        if world.works.len() < AT_ONCE {
            events.extend(self.to_mend(world).into_iter().map(Event::Mend));
        }
    }

    fn next_state(&self, before: &World, event: Event) -> Option<World> {
        let mut world = before.clone();
        match event {
            Event::Ask => {
                let client = world.executions.iter().position(|one| one.status == Status::None)?;
                world.executions[client].status = Status::Queued;
                world.begin(Work::Acquire { client, again: false });
            }
            Event::Do(work) => {
                take(&mut world, work);
                let next = self.effect(&mut world, work);
                if let Some(work) = next {
                    world.begin(work);
                }
            }
            Event::DieBefore(work) => {
                world.crashes -= 1;
                take(&mut world, work);
            }
            Event::DieAfter(work) => {
                world.crashes -= 1;
                take(&mut world, work);
                let _ = self.effect(&mut world, work);
            }
            Event::Claim(client) => claim(&mut world, client),
            Event::NeverClaims(client) => world.executions[client].pending -= 1,
            Event::Exit(client) => exit(&mut world, client),
            Event::Kill(client) => {
                world.kills -= 1;
                self.kill(&mut world, client);
            }
            Event::Revoke(client) => {
                world.revocations -= 1;
                revoke(&mut world, client);
            }
            Event::Mend(work) => world.begin(work),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_TWO, |_, world: &World| {
                world.executions.iter().filter(|execution| execution.can_run()).count() <= 1
            }),
            Property::always("a command runs once", |_, world: &World| {
                world.executions.iter().all(|execution| execution.runs <= 1)
            }),
            Property::always("what has ended can run no more", |_, world: &World| {
                let ended = world.executions.iter().filter(|execution| execution.status == Status::Ended);
                ended.clone().all(|execution| !execution.can_run())
            }),
            Property::always("whoever runs holds the lock", |_, world: &World| {
                let mut all = world.executions.iter().enumerate();
                all.all(|(client, one)| !one.running || world.holder().is_some_and(|(who, _)| who == client))
            }),
            Property::always("whoever is revoked in line never runs", |_, world: &World| {
                let mut all = world.executions.iter();
                all.all(|execution| !execution.revoked_in_line || execution.runs == 0)
            }),
            Property::always(
                "without a crash nobody waits for a repair",
                |protocol: &Self, world: &World| {
                    let is_calm = world.works.is_empty() && world.crashes == protocol.crashes;
                    let held_by = world.holder().map(|(client, _)| world.executions[client].status);
                    !is_calm || !matches!(held_by, Some(Status::Queued | Status::Ended))
                },
            ),
            // Where processes are in the middle of something, they first finish it: that state is looked at by itself.
            Property::always(NOBODY_FORGOTTEN, |protocol: &Self, world: &World| {
                !world.works.is_empty() || heal::comes_to_an_end(*protocol, world)
            }),
            Property::sometimes("all three run, one after the other", |_, world: &World| {
                world.executions.iter().all(|execution| execution.runs == 1)
            }),
        ]
    }
}

impl Protocol {
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
            Work::Acquire { client, again } => acquire(world, client, again),
            Work::Begin { client, token } => begin(world, client, token),
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
                (has_ended || self.deny_releases_always).then_some(Work::Release { token })
            }
            Work::Release { token } if self.hand_off_in_two_writes => free_only(world, token),
            Work::Release { token } => match ask(world, &LockCommand::Release { token }) {
                LockAnswer::Released { next: Some(next) } => {
                    Some(Work::GiveTurn { client: client_of(next.execution), token: next.token })
                }
                _ => None,
            },
            Work::Promote => promote(world),
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

    fn kill(self, world: &mut World, client: usize) {
        if end(world, client, &[Status::Queued]) {
            world.begin(Work::Free { client });
        } else {
            world.executions[client].status = Status::Terminating;
            world.begin(Work::Stop { client });
            if self.release_before_revoke {
                world.begin(Work::Free { client });
            }
        }
    }
}

fn take(world: &mut World, work: Work) {
    world.works.retain(|other| *other != work);
}

/// Asks the lock, which is core's own code.
fn ask(world: &mut World, command: &LockCommand) -> LockAnswer {
    step(&mut world.lock, command, Timestamp::UNIX_EPOCH)
}

fn acquire(world: &mut World, client: usize, again: bool) -> Option<Work> {
    let command = LockCommand::Acquire {
        execution: id_of(client),
        user: USER.clone(),
        when_held: WhenHeld::Queue,
        max_depth: CLIENTS,
    };
    match ask(world, &command) {
        LockAnswer::Granted(holder) if again => Some(Work::GiveTurn { client, token: holder.token }),
        LockAnswer::Granted(holder) => Some(Work::Begin { client, token: holder.token }),
        _ => None,
    }
}

fn begin(world: &mut World, client: usize, token: u64) -> Option<Work> {
    let execution = &mut world.executions[client];
    match execution.status {
        Status::Queued => {
            execution.status = Status::Starting;
            execution.token = Some(token);
            Some(Work::Start { client })
        }
        Status::Ended => Some(Work::Release { token }),
        _ => None,
    }
}

fn give_turn(world: &World, client: usize, token: u64) -> Option<Work> {
    let execution = &world.executions[client];
    match execution.status {
        Status::Queued if execution.revoked => Some(Work::Deny { client, token }),
        Status::Queued => Some(Work::Begin { client, token }),
        Status::None | Status::Ended => Some(Work::Release { token }),
        _ => None,
    }
}

/// A compare-and-set of the record.
fn end(world: &mut World, client: usize, from: &[Status]) -> bool {
    let execution = &mut world.executions[client];
    let is_done = from.contains(&execution.status);
    if is_done {
        execution.status = Status::Ended;
    }
    is_done
}

pub(crate) fn claim(world: &mut World, client: usize) {
    let execution = &mut world.executions[client];
    execution.pending -= 1;
    if execution.gate.claim() {
        execution.running = true;
        execution.runs += 1;
    }
}

pub(crate) fn exit(world: &mut World, client: usize) {
    world.executions[client].running = false;
    world.executions[client].exited = true;
}

fn revoke(world: &mut World, client: usize) {
    let is_decided = world.works.iter().any(|work| match *work {
        Work::Begin { client: other, .. } => other == client,
        Work::Acquire { client: other, again } => other == client && !again,
        _ => false,
    });
    let execution = &mut world.executions[client];
    execution.revoked = true;
    execution.revoked_in_line = !is_decided;
}

fn free_only(world: &mut World, token: u64) -> Option<Work> {
    let held = world.lock.holder.take_if(|holder| holder.token == token);
    (held.is_some() && !world.lock.waiters.is_empty()).then_some(Work::Promote)
}

fn promote(world: &mut World) -> Option<Work> {
    let first = world.lock.waiters.pop_front()?;
    let client = client_of(first.execution);
    // As if it had come to a free lock.
    let line = std::mem::take(&mut world.lock.waiters);
    let next = acquire(world, client, true);
    world.lock.waiters = line;
    next
}
