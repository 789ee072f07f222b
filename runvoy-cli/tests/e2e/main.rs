//! The real binary against the real server, agent and database, from outside.

#![cfg(feature = "local")]
#![allow(
    clippy::assigning_clones,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::large_stack_arrays,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test code"
)]

mod audit;
mod checkouts;
mod crash;
mod docker;
mod drain;
mod engine_away;
#[expect(dead_code, reason = "the agent's tests use more of it")]
#[path = "../../../runvoy-agent/tests/agent/server/mod.rs"]
mod git_server;
mod harness;
mod hints;
mod http;
mod images;
mod input;
mod kill;
mod limits;
mod local_run;
mod locks;
mod matrix;
mod outlet;
mod people;
mod playbooks;
mod policies;
mod same_as_docker;
mod secrets;
mod setup;
mod shell;
mod state;
mod terminal;
mod trace;
mod uploads;
mod why;
mod wire;
