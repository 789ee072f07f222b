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
mod crash;
mod docker;
mod drain;
mod harness;
mod http;
mod input;
mod kill;
mod local_run;
mod locks;
mod matrix;
mod people;
mod playbooks;
mod policies;
mod same_as_docker;
mod shell;
mod state;
mod trace;
mod why;
