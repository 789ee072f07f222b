use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use runvoy_core::cedar::PolicyError;
use runvoy_core::port::BoxError;

use super::PolicyDirError;

/// The first pause before something is tried again; each is twice the one before it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_mins(1);

/// Why the policies of before stay in force.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A file is bad, and stays so until it is written anew.
    Refused(PolicyError),
    /// There is no such directory.
    Gone,
    /// Something failed that may not fail again.
    Passing(BoxError),
}

impl Trouble {
    pub(super) fn of(error: PolicyDirError, dir: &Path) -> Self {
        match error {
            PolicyDirError::Refused(error) => Self::Refused(error),
            PolicyDirError::Unreadable { path, source }
                if path == dir && source.kind() == ErrorKind::NotFound =>
            {
                Self::Gone
            }
            other @ PolicyDirError::Unreadable { .. } => Self::Passing(other.into()),
        }
    }
}

/// What went wrong lately: told once, and tried again less and less often.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: Option<String>,
    pause: Duration,
}

impl Troubles {
    /// Tells what is new, and says after which time to try again, if that can help.
    pub(super) fn note(&mut self, trouble: &Trouble, dir: &Path) -> Option<Duration> {
        let said = match trouble {
            Trouble::Refused(error) => {
                self.over();
                tracing::error!(%error, "policies refused; those of before stay in force");
                return None;
            }
            Trouble::Gone => "gone".to_owned(),
            Trouble::Passing(error) => format!("{error}: {}", cause(error)),
        };
        if self.told.as_ref() != Some(&said) {
            tell(trouble, dir);
            self.told = Some(said);
        }
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        Some(self.pause)
    }

    /// It went well again.
    pub(super) fn over(&mut self) {
        if std::mem::take(self).told.is_some() {
            tracing::info!("policies are followed again");
        }
    }
}

fn tell(trouble: &Trouble, dir: &Path) {
    let dir = dir.display();
    if let Trouble::Passing(error) = trouble {
        let cause = cause(error);
        tracing::error!(%error, cause, %dir, "policies not loaded, tried again; those of before stay in force");
    } else {
        tracing::warn!(%dir, "the directory of policies is gone; those of before stay in force");
    }
}

fn cause(error: &BoxError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}
