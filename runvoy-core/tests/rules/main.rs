//! The rules of the service, over the memory ports.

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

mod code;
mod crash;
mod fuse;
mod hang_up;
mod images;
mod lasting;
mod lives;
mod locks;
mod outage;
mod people;
mod secret_store;
mod secrets;
mod service;
mod told;
mod world;
