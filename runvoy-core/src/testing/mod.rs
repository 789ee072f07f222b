//! Conformance suites of the ports, a clock to wind by hand, and mocks.
//!
//! One `async fn` per property over `&dyn Port`. Cases invent names of their own, so that they run in parallel
//! on a shared store.

// What a suite finds wrong it says by panicking, as every test does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

pub mod audit_log;
pub mod code_store;
pub mod execution_store;
pub mod image_registry;
pub mod intake;
pub mod key_store;
pub mod lock_manager;
pub mod mocks;
pub mod secret_store;

pub mod executor;
#[cfg(test)]
mod listed;
pub mod log_source;
mod manual_clock;
mod subject;
pub mod trace_log;

pub use manual_clock::ManualClock;
pub use subject::{Subject, block_on};
