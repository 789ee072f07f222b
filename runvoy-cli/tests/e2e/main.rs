//! The real binary against the real server, agent and database, from outside.

#![cfg(feature = "local")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

mod crash;
mod drain;
mod harness;
mod input;
mod kill;
mod local_run;
mod shell;
mod state;
