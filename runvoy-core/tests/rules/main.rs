//! The rules of the service, over the memory ports.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

mod crash;
mod fuse;
mod service;
mod world;
