#![doc = include_str!("../README.md")]

#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "memory", feature = "process"))]
mod page;

#[cfg(feature = "process")]
pub mod log_files;
#[cfg(feature = "process")]
pub mod process;
