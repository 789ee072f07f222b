//! The HTTP API, driven without a socket.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

mod contract;
mod document;
mod failures;
mod limits;
mod logs;
mod server;
