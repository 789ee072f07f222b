//! Commands as supervised processes of this machine.
