//! Everything that may happen, in every order, and what must hold whatever happens.

use stateright::{Model, Property};

use crate::heal;
use crate::world::{CLIENTS, Status, Work, World};
use crate::{NEVER_TWO, NOBODY_FORGOTTEN};

/// Processes that may be in the middle of something for a pass over the records to begin something else.
const AT_ONCE: usize = 2;

/// A mistake that the model has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The lock is freed, and given to the next in a second write.
    HandOffInTwoWrites,
    /// Who is denied lets go of the lock, also when it was started meanwhile.
    DenialReleasesAlways,
    /// Who is killed lets go of the lock before its gate is closed.
    ReleaseBeforeRevoke,
    /// Who loses the lock before its turn begins only has a mark, which the beginning wipes.
    AbandonEndsNobody,
}

/// How much may go wrong in one story.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// How many ask; the others have had their turn before.
    pub(crate) clients: usize,
    pub(crate) crashes: u8,
    pub(crate) kills: u8,
    pub(crate) revocations: u8,
    /// Times the lock may be taken from a holder that may still run.
    pub(crate) abandons: u8,
    /// Whether the last client would rather fail than wait.
    pub(crate) last_fails: bool,
    /// Times that a task may be started.
    pub(crate) starts: u8,
    /// What was done wrong on purpose.
    pub(crate) seeded: Option<Bug>,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            clients: CLIENTS,
            crashes: 0,
            kills: 0,
            revocations: 0,
            abandons: 0,
            last_fails: false,
            starts: 1,
            seeded: None,
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
    /// Somebody kills an execution, or the holder of the lock.
    Kill(usize),
    /// Somebody takes the lock from its holder, which may still run.
    Abandon { client: usize, token: u64 },
    /// Whoever asked for it is known no more.
    Revoke(usize),
    /// News of a task, or a pass over the records, finds something to do.
    Mend(Work),
}

impl Model for Protocol {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let Self { crashes, kills, revocations, abandons, .. } = *self;
        let mut world = World { crashes, kills, abandons, revocations, ..World::default() };
        for before in world.executions.iter_mut().skip(self.clients) {
            (before.status, before.runs, before.exited) = (Status::Ended, 1, true);
        }
        vec![world]
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
        if let Some((client, token)) = world.holder() {
            events.extend((world.abandons > 0).then_some(Event::Abandon { client, token }));
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
            Event::Abandon { client, token } => {
                world.abandons -= 1;
                world.begin(Work::Abandon { client, token });
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
                world.executions.iter().filter(|one| one.can_run() && !one.abandoned).count() <= 1
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
                all.all(|(client, one)| {
                    !one.running || one.abandoned || world.holder().is_some_and(|(who, _)| who == client)
                })
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
            Property::sometimes("all run, one after the other", |_, world: &World| {
                world.executions.iter().all(|execution| execution.runs == 1)
            }),
        ]
    }
}

fn take(world: &mut World, work: Work) {
    world.works.retain(|other| *other != work);
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
