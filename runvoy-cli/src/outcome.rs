//! From the end of an execution to an exit code.

use runvoy_core::api::{EndData, ExecutionRecord};
use runvoy_core::state::{Reason, Status};

use crate::exit;

/// How an execution ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending<'a> {
    /// The terminal status.
    pub(crate) status: Status,
    /// Why.
    pub(crate) reason: Option<Reason>,
    /// The same for people.
    pub(crate) detail: Option<&'a str>,
    /// The command's own code.
    pub(crate) exit_code: Option<i32>,
}

impl<'a> From<&'a EndData> for Ending<'a> {
    fn from(end: &'a EndData) -> Self {
        let detail = end.status_detail.as_deref();
        Self { status: end.status, reason: end.status_reason, detail, exit_code: end.exit_code }
    }
}

impl<'a> From<&'a ExecutionRecord> for Ending<'a> {
    fn from(record: &'a ExecutionRecord) -> Self {
        let detail = record.status_detail.as_deref();
        Self { status: record.status, reason: record.status_reason, detail, exit_code: record.exit_code }
    }
}

/// What we exit with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The exit code.
    pub(crate) code: u8,
    /// Why it is not the command's own, if it is not; or what else there is to know.
    pub(crate) line: Option<String>,
}

impl Ending<'_> {
    /// The exit code, and the line that explains it.
    pub(crate) fn verdict(&self) -> Verdict {
        let own = self.exit_code.map(own_code);
        let explained = |code, what: &str| Verdict { code, line: Some(self.explain(what)) };
        match self.reason {
            Some(Reason::Exited) | None => match own {
                Some(code) if code != exit::OK || self.status == Status::Succeeded => {
                    Verdict { code, line: None }
                }
                None if self.status == Status::Succeeded => Verdict { code: exit::OK, line: None },
                _ => explained(exit::NOT_RUN, "it ended without an exit code"),
            },
            Some(Reason::TimedOut) => explained(exit::TIMED_OUT, "the command ran into its timeout"),
            Some(Reason::Killed) => explained(killed(own), "the execution was killed"),
            Some(Reason::StoppedOutside) => {
                explained(killed(own), "the execution was stopped from outside Runvoy")
            }
            Some(Reason::OomKilled) => {
                let code = own.filter(|code| *code != exit::OK).unwrap_or(137);
                explained(code, "the command ran out of memory and was killed")
            }
            Some(Reason::LogLimit) => explained(exit::NOT_RUN, "the command wrote more log than allowed"),
            Some(Reason::WorkspaceFailed) => {
                explained(exit::NOT_RUN, "the command's workspace could not be prepared")
            }
            Some(Reason::StartFailed) => explained(exit::NOT_RUN, "the command could not be started"),
            Some(Reason::ImageUnavailable) => explained(exit::NOT_RUN, "the image could not be had"),
            Some(Reason::Lost) => explained(exit::NOT_RUN, "the execution was lost: its task vanished"),
            Some(Reason::LockHeld) => explained(exit::TRY_LATER, "the lock is held"),
            Some(Reason::QueueTimeout) => explained(exit::TRY_LATER, "it waited too long for its lock"),
            Some(Reason::Denied) => explained(exit::DENIED, "it was no longer allowed when its turn came"),
        }
    }

    /// Whether the server's words leave nothing to add.
    fn is_whole_story(&self, detail: &str) -> bool {
        match self.reason {
            Some(
                Reason::TimedOut
                | Reason::LogLimit
                | Reason::Lost
                | Reason::LockHeld
                | Reason::QueueTimeout
                | Reason::Denied,
            ) => true,
            Some(Reason::StartFailed) => detail.contains("start"),
            Some(Reason::WorkspaceFailed) => detail.contains("workspace"),
            _ => false,
        }
    }

    fn explain(&self, what: &str) -> String {
        match self.detail.map(first_line).filter(|detail| !detail.is_empty()) {
            Some(detail) if self.is_whole_story(detail) => detail.to_owned(),
            Some(detail) => format!("{what}: {detail}"),
            None => what.to_owned(),
        }
    }
}

/// The code of a command that somebody stopped: not 0, whatever it said.
fn killed(own: Option<u8>) -> u8 {
    own.filter(|code| *code != exit::OK).unwrap_or(exit::KILLED)
}

/// A code as a process can exit with it, and never 0 for a failure.
fn own_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or_else(|_| u8::try_from(code & 0xff).unwrap_or(1).max(1))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: Status, reason: Reason, exit_code: Option<i32>) -> (u8, bool) {
        let verdict = Ending { status, reason: Some(reason), detail: None, exit_code }.verdict();
        (verdict.code, verdict.line.is_some())
    }

    #[test]
    fn the_commands_own_code_passes_through() {
        assert_eq!(code(Status::Succeeded, Reason::Exited, Some(0)), (0, false));
        for own in [1, 2, 65, 124, 125, 130, 137, 141, 255] {
            let want = (u8::try_from(own).unwrap(), false);
            assert_eq!(code(Status::Failed, Reason::Exited, Some(own)), want);
        }
        assert_eq!(code(Status::Failed, Reason::Exited, Some(256)).0, 1);
        assert_eq!(code(Status::Failed, Reason::Exited, None), (125, true));
    }

    #[test]
    fn every_other_ending_has_its_code_and_a_line() {
        use Reason::*;
        let cases = [
            (Status::Failed, TimedOut, Some(0), 124),
            (Status::Failed, TimedOut, Some(143), 124),
            (Status::Stopped, Killed, Some(0), 143),
            (Status::Stopped, Killed, Some(137), 137),
            (Status::Stopped, Killed, None, 143),
            (Status::Stopped, StoppedOutside, Some(0), 143),
            (Status::Failed, OomKilled, Some(137), 137),
            (Status::Failed, OomKilled, None, 137),
            (Status::Failed, LogLimit, Some(137), 125),
            (Status::Failed, WorkspaceFailed, None, 125),
            (Status::Failed, StartFailed, None, 125),
            (Status::Failed, ImageUnavailable, None, 125),
            (Status::Failed, Lost, None, 125),
            (Status::Failed, LockHeld, None, 75),
            (Status::Failed, QueueTimeout, None, 75),
            (Status::Failed, Denied, None, 77),
        ];
        for (status, reason, own, want) in cases {
            assert_eq!(code(status, reason, own), (want, true), "{reason} {own:?}");
        }
    }

    #[test]
    fn nothing_is_said_twice() {
        let line = |reason, detail| {
            let ending = Ending {
                status: Status::Failed,
                reason: Some(reason),
                detail: Some(detail),
                exit_code: None,
            };
            ending.verdict().line.unwrap()
        };
        for (reason, detail) in [
            (Reason::StartFailed, "the command could not be started: cannot start `x`: no such file"),
            (Reason::WorkspaceFailed, "the workspace could not be prepared: no space"),
            (Reason::QueueTimeout, "waited 1 s for the lock `l`, as long as it was to"),
            (Reason::LockHeld, "the lock `l` is held"),
            (Reason::Denied, "its turn came, but no policy allows run on system any more"),
        ] {
            assert_eq!(line(reason, detail), detail);
        }
    }

    #[test]
    fn the_line_is_one_line() {
        let ending = Ending {
            status: Status::Failed,
            reason: Some(Reason::StartFailed),
            detail: Some("no such file\nmore"),
            exit_code: None,
        };
        assert_eq!(ending.verdict().line.as_deref(), Some("the command could not be started: no such file"));
    }
}
