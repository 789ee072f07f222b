//! The protocol of locks and queue, every order of its steps: three clients, processes that crash before or after any
//! effect, tasks that start late or twice, kills, a user who is revoked while waiting.
//!
//! The model's own part is who calls what next, as `src/runvoy/locks.rs` does it. What a lock answers and who passes the
//! gate is core's own code.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "test code")]

mod heal;
mod protocol;
mod world;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use protocol::Protocol;

const NEVER_TWO: &str = "never two tasks that can run";
const NOBODY_FORGOTTEN: &str = "nobody is forgotten";

fn check(protocol: Protocol) {
    let checker = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let states = checker.unique_state_count();
    checker.assert_properties();
    assert!(states > 10_000, "only {states} states were looked at");
}

#[test]
fn whoever_crashes_no_two_run_and_nobody_is_forgotten() {
    check(Protocol { crashes: 2, ..Protocol::default() });
    check(Protocol { crashes: 1, kills: 1, ..Protocol::default() });
}

#[test]
fn whoever_is_revoked_while_waiting_never_runs() {
    check(Protocol { crashes: 1, revocations: 1, ..Protocol::default() });
}

#[test]
fn late_and_doubled_tasks_run_nothing() {
    check(Protocol { kills: 1, starts: 2, ..Protocol::default() });
}

/// A model that finds nothing wrong where something is wrong shows nothing.
fn assert_found(protocol: Protocol, property: &'static str) {
    let wanted = std::iter::once(property).collect();
    let checker = protocol.checker().finish_when(HasDiscoveries::AllOf(wanted)).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "the seeded bug was not found");
}

#[test]
fn a_hand_off_in_two_writes_is_found() {
    let seeded = Protocol { crashes: 1, hand_off_in_two_writes: true, ..Protocol::default() };
    assert_found(seeded, NOBODY_FORGOTTEN);
}

#[test]
fn a_denial_that_frees_what_was_started_is_found() {
    assert_found(Protocol { revocations: 1, deny_releases_always: true, ..Protocol::default() }, NEVER_TWO);
}

#[test]
fn a_release_before_the_gate_is_closed_is_found() {
    assert_found(Protocol { kills: 1, release_before_revoke: true, ..Protocol::default() }, NEVER_TWO);
}
