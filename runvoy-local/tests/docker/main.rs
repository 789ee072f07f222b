//! Commands in containers of a real Docker engine: found by `DOCKER_HOST`, else at its usual place.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

mod containers;
mod failures;
mod forged;
mod hostile;
mod images;
mod leftovers;
mod locks;
mod many;
mod pulls;
mod restart;
mod support;

mod conformance {
    runvoy_core::executor_conformance!(crate::support::Containers::new().await);
}
