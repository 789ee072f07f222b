//! The audit log: what is written into it, who reads it, and whether it is whole.

mod check;
mod outcomes;
mod read;
mod reveals;
mod write;

pub(crate) use reveals::Revealed;
