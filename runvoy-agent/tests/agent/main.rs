//! The agent from outside: the real binary, in directories of its own.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod git;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod log;
#[cfg(test)]
mod masking;
#[cfg(test)]
mod run;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod task;
#[cfg(test)]
mod upload;
