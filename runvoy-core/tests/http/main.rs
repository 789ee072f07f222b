//! The HTTP API, driven without a socket.

#![allow(
    clippy::assigning_clones,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::large_stack_arrays,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

mod audit;
mod authz;
mod code;
mod contract;
mod document;
mod failures;
mod images;
mod limits;
mod locks;
mod logs;
mod meanwhile;
mod people;
mod rates;
mod secret_names;
mod secrets;
mod server;
mod socket;
mod trace;
mod why;
