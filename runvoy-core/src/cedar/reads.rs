//! Which part of a run's context a policy reads: a decision is remembered for all runs that agree in it.

use std::ops::BitOrAssign;

use crate::port::RunContext;

/// The attributes of the context, as the schema names them.
const NAMES: [&str; 7] = ["command", "image", "lock", "secrets", "git_repo", "address", "hour"];

/// Attributes of the context. May hold too many, never too few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads(u8);

impl Reads {
    /// Every attribute, and those of a later schema.
    pub(super) const ALL: Self = Self(u8::MAX);

    /// One attribute. One that is not known here could be any.
    pub(super) fn attribute(name: &str) -> Self {
        NAMES.iter().position(|known| *known == name).map_or(Self::ALL, |at| Self(1 << at))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The same run as far as these attributes go.
    pub(super) fn of<'a>(self, run: &RunContext<'a>) -> RunContext<'a> {
        let [command, image, lock, secrets, git_repo, address, hour] =
            std::array::from_fn(|at| self.0 >> at & 1 == 1);
        RunContext {
            command: if command { run.command } else { "" },
            image: run.image.filter(|_| image),
            image_owners: &[],
            lock: run.lock.filter(|_| lock),
            secrets: if secrets { run.secrets } else { &[] },
            git_repo: run.git_repo.filter(|_| git_repo),
            address: run.address.filter(|_| address),
            hour: if hour { run.hour } else { 0 },
        }
    }
}

impl BitOrAssign for Reads {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_does_not_tell_runs_apart() {
        let lock = "prod".parse().unwrap();
        let run = RunContext { command: "make", lock: Some(&lock), hour: 9, ..RunContext::default() };
        let mut reads = Reads::attribute("command");
        assert_eq!(reads.of(&run), RunContext { command: "make", ..RunContext::default() });
        reads |= Reads::attribute("lock");
        assert_eq!(reads.of(&run), RunContext { hour: 0, ..run });
        assert_eq!(Reads::ALL.of(&run), run);
        assert_eq!(Reads::attribute("of a later schema"), Reads::ALL);
        assert!(Reads::default().is_empty());
    }
}
