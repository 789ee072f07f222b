//! What each reason means, and what to do about it: one table.

use super::Phase;
use super::words::Short;
use crate::execution::Execution;
use crate::state::Reason;

/// Says of a reason what happened.
pub(super) fn meaning(reason: Reason, record: &Execution) -> String {
    let lock = record.lock.as_ref();
    let name = lock.map_or("", |lock| lock.name.as_str());
    match reason {
        Reason::Exited => exited(record.exit_code),
        Reason::Killed => match &record.stop {
            Some(stop) => format!("{} stopped it", stop.by),
            None => "it was stopped".to_owned(),
        },
        Reason::TimedOut => format!("the command ran longer than its timeout of {} s", record.timeout),
        Reason::LogLimit => "the command wrote more log than is kept".to_owned(),
        Reason::OomKilled => "the command used more memory than it was given".to_owned(),
        Reason::WorkspaceFailed => "the directory to start in could not be prepared".to_owned(),
        Reason::StartFailed => "the command could not be started".to_owned(),
        Reason::ImageUnavailable => "the image could not be had".to_owned(),
        Reason::Lost => {
            "the command's supervisor vanished, by a reboot, lack of memory or a signal".to_owned()
        }
        Reason::StoppedOutside => "its task was stopped by somebody who did not ask Runvoy".to_owned(),
        Reason::LockHeld => format!("the lock `{name}` was held, and it was not to wait"),
        Reason::QueueTimeout => {
            let waited = lock.map_or(0, |lock| lock.max_wait);
            format!("it waited {waited} s for the lock `{name}`, as long as it was to")
        }
        Reason::Denied => "it was no longer allowed".to_owned(),
    }
}

/// Says what to do about it.
pub(super) fn remedy(reason: Reason, record: &Execution) -> String {
    let id = Short(record.id);
    let name = record.lock.as_ref().map_or("NAME", |lock| lock.name.as_str());
    match reason {
        Reason::Exited => match record.exit_code {
            Some(126) => "make the file executable, or run it with its interpreter".to_owned(),
            Some(127) => "check the command's name and PATH where it runs".to_owned(),
            _ => format!("`runvoy logs --tail 50 {id}` shows the last that it said"),
        },
        Reason::Killed => "run it again if that was a mistake".to_owned(),
        Reason::TimedOut => {
            format!("give it more with `--timeout`, or see in `runvoy logs {id}` what it was busy with")
        }
        Reason::LogLimit => "send the command's output to a file, or make it say less".to_owned(),
        Reason::OomKilled => "give it more with `--memory`, or let it do less at once".to_owned(),
        Reason::WorkspaceFailed => {
            let what = fault(record).and_then(|(_, remedy)| remedy);
            let what = what.unwrap_or("check repository, ref, path and the rights of the token");
            format!("{what}; `runvoy logs {id}` has more")
        }
        Reason::StartFailed => {
            "mend what the sentence names, then run it again: the command did not run".to_owned()
        }
        Reason::ImageUnavailable => {
            "check the image's name, and that the server may pull it; the command did not run".to_owned()
        }
        Reason::Lost => {
            format!(
                "see in `runvoy logs {id}` how far it came before you run it again: it may have done part of it"
            )
        }
        Reason::StoppedOutside => {
            "ask who looks after the machine; it may have done part of its work".to_owned()
        }
        Reason::LockHeld => {
            format!("wait in line with `--wait`; `runvoy locks show {name}` shows who holds it")
        }
        Reason::QueueTimeout => {
            format!("give it longer with `--max-wait`; `runvoy locks show {name}` shows who holds it")
        }
        Reason::Denied => "ask an admin: the policy, or whoever may run it, has changed since".to_owned(),
    }
}

/// What an agent says of a workspace that it could not prepare: what happened, and after the last semicolon what to do
/// about it, where it has something to advise.
pub(super) fn fault(record: &Execution) -> Option<(&str, Option<&str>)> {
    let said = record.status_detail.as_deref()?.lines().next().filter(|said| !said.is_empty())?;
    match said.rsplit_once("; ") {
        Some((what, remedy)) => Some((what, Some(remedy))),
        None => Some((said, None)),
    }
}

/// Whether the record's own sentence says more than the table.
pub(super) const fn is_told_apart(reason: Reason) -> bool {
    match reason {
        Reason::Exited
        | Reason::OomKilled
        | Reason::WorkspaceFailed
        | Reason::StartFailed
        | Reason::ImageUnavailable
        | Reason::StoppedOutside
        | Reason::Denied => true,
        Reason::Killed
        | Reason::TimedOut
        | Reason::LogLimit
        | Reason::Lost
        | Reason::LockHeld
        | Reason::QueueTimeout => false,
    }
}

fn exited(code: Option<i32>) -> String {
    match code {
        None => "the command ended without an exit code".to_owned(),
        Some(126) => "what was to run is no program, or may not be run (exit code 126)".to_owned(),
        Some(127) => "the shell did not find what was to run (exit code 127)".to_owned(),
        Some(code @ 129..=192) => format!("signal {} ended the command (exit code {code})", code - 128),
        Some(code) => format!("the command ended with exit code {code}"),
    }
}

/// What to do about a phase that was slow.
pub(super) fn slow_remedy(phase: Phase, record: &Execution) -> String {
    let id = Short(record.id);
    match phase {
        Phase::Queued => {
            let name = record.lock.as_ref().map_or("NAME", |lock| lock.name.as_str());
            format!(
                "hold `{name}` for less: split what needs it from what does not, or give parts locks of their own"
            )
        }
        Phase::Starting => {
            "see whether the machine is busy, and the server's log for `task not started yet`".to_owned()
        }
        Phase::Workspace => "fetch less: a smaller repository or upload".to_owned(),
        Phase::Command => format!("`runvoy logs --timestamps {id}` shows where it took its time"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::answer::tests::record;
    use super::*;

    #[test]
    fn a_workspace_that_failed_is_told_with_the_remedy_of_its_fault() {
        let told = |detail: Option<&str>| {
            let record = Execution { status_detail: detail.map(str::to_owned), ..record() };
            remedy(Reason::WorkspaceFailed, &record)
        };
        let faults = [
            (
                "git.test refuses the token (401); check that it is valid",
                "check that it is valid; `runvoy logs",
            ),
            ("a; b: the repository has no branch `x`; check git_ref", "check git_ref; `runvoy logs"),
            ("it ended without an answer", "check repository, ref, path"),
        ];
        for (detail, want) in faults {
            assert!(told(Some(detail)).starts_with(want), "{}", told(Some(detail)));
        }
        assert!(told(None).starts_with("check repository"));
    }

    #[test]
    fn every_reason_has_a_meaning_and_a_remedy_of_its_own() {
        let record = record();
        let all = |of: fn(Reason, &Execution) -> String| {
            Reason::ALL.into_iter().map(|reason| of(reason, &record)).collect::<BTreeSet<_>>()
        };
        for said in [all(meaning), all(remedy)] {
            assert_eq!(said.len(), Reason::ALL.len(), "{said:?}");
            assert!(said.iter().all(|text| text.len() > 10 && !text.ends_with('.')), "{said:?}");
        }
    }
}
