//! The start gate: whether a task may run its execution's command, decided once.
//!
//! Where there is one memory it is this; elsewhere it is a compare-and-set that means the same: a hard link on one
//! machine, a conditional write in a cloud.

use crate::port::Claim;

/// The gate of one execution: open until the first decision, which stands for ever.
///
/// ```
/// use runvoy_core::gate::StartGate;
/// use runvoy_core::port::Claim;
///
/// let mut gate = StartGate::default();
/// assert!(gate.claim(), "the first task runs the command");
/// assert!(!gate.claim(), "a doubled one does not");
/// assert_eq!(gate.revoke(), Claim::Claimed, "and whoever wants to end it learns so");
///
/// let mut gate = StartGate::default();
/// assert_eq!(gate.revoke(), Claim::Revoked);
/// assert!(!gate.claim(), "a late task runs nothing");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StartGate(Option<Claim>);

impl StartGate {
    /// A task wants to run the command: whether it may. It is true once at most.
    #[must_use]
    pub fn claim(&mut self) -> bool {
        let is_first = self.0.is_none();
        self.0.get_or_insert(Claim::Claimed);
        is_first
    }

    /// Somebody wants that the command never runs: what the gate says from now on.
    pub fn revoke(&mut self) -> Claim {
        *self.0.get_or_insert(Claim::Revoked)
    }

    /// What was decided; `None` while it is open.
    pub const fn decided(&self) -> Option<Claim> {
        self.0
    }
}
