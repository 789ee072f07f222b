#![doc = include_str!("../README.md")]

#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "memory", feature = "sqlite"))]
mod accounts;
#[cfg(any(feature = "docker", feature = "memory", feature = "process"))]
mod page;

#[cfg(any(feature = "docker", feature = "process"))]
pub mod code_files;
#[cfg(any(feature = "docker", feature = "process"))]
mod task_dir;

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(any(feature = "docker", feature = "process"))]
pub mod log_files;
#[cfg(feature = "process")]
pub mod process;

#[cfg(any(feature = "docker", feature = "memory", feature = "process"))]
mod news;

#[cfg(feature = "server")]
mod data_dir;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod server_log;

#[cfg(all(feature = "server", feature = "docker", feature = "process", feature = "sqlite"))]
mod both;
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
mod executors;
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
mod guest;
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
mod image_offer;
#[cfg(all(feature = "server", feature = "sqlite"))]
mod key_files;
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
mod local;
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
mod policy_dir;

#[cfg(feature = "server")]
pub use data_dir::{DataDir, DataDirError, Passage, ServerNote};
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
pub use executors::{ExecutorChoice, Sandbox};
#[cfg(all(feature = "server", feature = "sqlite"))]
pub use key_files::{RotateError, Rotated, Rotation, rotate_master_key};
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
pub use local::{Guest, Local, LocalConfig, LocalError, Opened, PolicyReload};
#[cfg(all(feature = "server", feature = "process", feature = "sqlite"))]
pub use policy_dir::{PolicyDirError, read_policies};
#[cfg(any(feature = "docker", feature = "process"))]
pub use runvoy_task::{Network, Secret};
#[cfg(feature = "server")]
pub use server::{ServeLimits, serve};
#[cfg(feature = "server")]
pub use server_log::{ServerLog, ServerLogLimits};
