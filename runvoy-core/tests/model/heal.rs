//! Nothing goes wrong any more: does everything come to its end?

use crate::protocol::{Protocol, claim, exit};
use crate::world::{CLIENTS, Status, World};

/// More passes than anything needs.
const PASSES: usize = 4 * CLIENTS;

/// Whether processes that finish what they are at, tasks that start and end, and passes over the records end every
/// execution and leave the lock free.
pub(crate) fn comes_to_an_end(protocol: Protocol, world: &World) -> bool {
    let mut world = world.clone();
    for _ in 0..PASSES {
        finish_works(protocol, &mut world);
        for client in 0..CLIENTS {
            if world.executions[client].pending > 0 {
                claim(&mut world, client);
            }
            if world.executions[client].running {
                exit(&mut world, client);
            }
        }
        for work in protocol.to_mend(&world) {
            world.begin(work);
        }
    }
    let is_over = |status| matches!(status, Status::None | Status::Ended);
    world.executions.iter().all(|execution| is_over(execution.status)) && world.lock.is_free()
}

fn finish_works(protocol: Protocol, world: &mut World) {
    while let Some(work) = world.works.pop() {
        if let Some(next) = protocol.effect(world, work) {
            world.begin(next);
        }
    }
}
