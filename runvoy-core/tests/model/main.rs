//! The protocol of locks and queue, every order of its steps: three clients, processes that crash before or after any
//! effect, tasks that start late or twice, kills, a client that would rather fail than wait, a lock that is taken from
//! its holder, a user who is revoked while waiting.
//!
//! What a lock answers and who passes the gate is core's own code. Who calls what next is a copy, kept by hand, of
//! `locks.rs`, `lock_admin.rs`, `kill.rs` and `reconcile.rs` in `src/runvoy`: the seeded bugs show what it would find there.
//!
//! A run that is taken in, granted a free lock and begun in one step is here three steps with nobody between them: one of
//! the orders that are looked at anyway.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "test code")]

mod heal;
mod protocol;
mod service;
mod world;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use protocol::{Bug, Protocol};

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
fn whoever_would_rather_fail_is_turned_away_or_runs() {
    check(Protocol { crashes: 1, kills: 1, last_fails: true, ..Protocol::default() });
}

#[test]
fn a_lock_that_is_taken_from_its_holder_has_one_holder_all_the_same() {
    check(Protocol { crashes: 1, abandons: 1, ..Protocol::default() });
}

#[test]
fn late_and_doubled_tasks_run_nothing() {
    check(Protocol { kills: 1, starts: 2, ..Protocol::default() });
}

/// Two clients: three are hundreds of millions of states.
#[test]
fn late_and_doubled_tasks_run_nothing_whoever_crashes() {
    let two = Protocol { clients: 2, crashes: 1, starts: 2, ..Protocol::default() };
    check(Protocol { kills: 1, ..two });
    check(Protocol { revocations: 1, ..two });
    check(Protocol { abandons: 1, ..two });
}

/// A model that finds nothing wrong where something is wrong shows nothing.
fn assert_found(protocol: Protocol, property: &'static str) {
    let wanted = std::iter::once(property).collect();
    let checker = protocol.checker().finish_when(HasDiscoveries::AllOf(wanted)).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "the seeded bug was not found");
}

#[test]
fn a_hand_off_in_two_writes_is_found() {
    let seeded = Protocol { crashes: 1, seeded: Some(Bug::HandOffInTwoWrites), ..Protocol::default() };
    assert_found(seeded, NOBODY_FORGOTTEN);
}

#[test]
fn a_denial_that_frees_what_was_started_is_found() {
    assert_found(
        Protocol { revocations: 1, seeded: Some(Bug::DenialReleasesAlways), ..Protocol::default() },
        NEVER_TWO,
    );
}

#[test]
fn a_holder_that_begins_after_it_lost_the_lock_is_found() {
    assert_found(
        Protocol { abandons: 1, seeded: Some(Bug::AbandonEndsNobody), ..Protocol::default() },
        NEVER_TWO,
    );
}

#[test]
fn a_release_before_the_gate_is_closed_is_found() {
    assert_found(
        Protocol { kills: 1, seeded: Some(Bug::ReleaseBeforeRevoke), ..Protocol::default() },
        NEVER_TWO,
    );
}
