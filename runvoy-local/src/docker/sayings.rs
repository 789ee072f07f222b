//! What engines say, and what we make of it.

use runvoy_core::port::Refused;

use super::refusal::Step;

/// What an engine says, in lower case, and what we make of it; `{image}` and `{said}` are put in.
pub(super) struct Saying {
    steps: &'static [Step],
    any_of: &'static [&'static str],
    pub(super) of: Refused,
    pub(super) words: &'static str,
    pub(super) lasts: Lasts,
}

impl Saying {
    /// Whether this is what an engine said.
    fn fits(&self, step: Step, text: &str) -> bool {
        self.steps.contains(&step) && self.any_of.iter().any(|said| text.contains(said))
    }
}

/// Whether what was said will be said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// It will.
    ForGood,
    /// Perhaps not.
    PerhapsNot,
    /// It will where the engine finds fault with what was asked, not with itself.
    IfAsked,
}

const ANYWHERE: &[Step] = &[Step::Pull, Step::Create, Step::Start];
const PULL: &[Step] = &[Step::Pull];
const BEGIN: &[Step] = &[Step::Create, Step::Start];

/// What is known of an engine's words, in lower case.
pub(super) fn known(step: Step, text: &str) -> Option<&'static Saying> {
    SAYINGS.iter().find(|saying| saying.fits(step, text))
}

/// The first that fits counts.
const SAYINGS: &[Saying] = &[
    Saying {
        steps: ANYWHERE,
        any_of: &["no space left on device", "disk quota exceeded"],
        of: Refused::Start,
        words: "the engine's disk is full; make room there, with `docker system prune` for example",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: ANYWHERE,
        any_of: &["invalid reference format", "invalid repository name", "repository name must be"],
        of: Refused::Image,
        words: "`{image}` is no image's name; write it as NAME:TAG or NAME@DIGEST",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: ANYWHERE,
        any_of: &[
            "no matching manifest",
            "no match for platform",
            "does not match the specified platform",
            "does not match the detected host platform",
            "unknown operating system or architecture",
        ],
        of: Refused::Image,
        words: "there is no `{image}` for the architecture asked for; name an image or a platform that fits ({said})",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: PULL,
        any_of: &["toomanyrequests", "rate limit"],
        of: Refused::Image,
        words: "the registry of `{image}` takes no more pulls for now; pull it on the server's machine with a login, or wait",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: PULL,
        any_of: &[
            "no such host",
            "connection refused",
            "i/o timeout",
            "tls",
            "timeout",
            "deadline exceeded",
            "network is unreachable",
            "proxyconnect",
            "server gave http response",
            "unexpected eof",
        ],
        of: Refused::Image,
        words: "the registry of `{image}` cannot be reached by the engine; look at its network, or pull the image there by hand ({said})",
        lasts: Lasts::PerhapsNot,
    },
    Saying {
        steps: PULL,
        any_of: &[
            "pull access denied",
            "repository does not exist",
            "manifest unknown",
            "name unknown",
            "not found",
            "no such image",
        ],
        of: Refused::Image,
        words: "there is no image `{image}`, or it is private; check the name, or pull it on the server's machine",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: PULL,
        any_of: &["unauthorized", "authentication required", "no basic auth", "denied"],
        of: Refused::Image,
        words: "the registry gives `{image}` only to who logs in; pull it on the server's machine",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: PULL,
        any_of: &[""],
        of: Refused::Image,
        words: "the image `{image}` cannot be pulled: {said}",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["range of cpus"],
        of: Refused::Start,
        words: "the engine does not have so much cpu; ask for less with `--cpu` ({said})",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["minimum memory limit"],
        of: Refused::Start,
        words: "that is too little memory for a container; ask for more with `--memory` ({said})",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["bind source path does not exist", "mounts denied", "not shared from the host"],
        of: Refused::Start,
        words: "the engine does not see this server's files; run the server where the engine runs ({said})",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["exec format error"],
        of: Refused::Start,
        words: "the agent is not made for the engine's architecture; point RUNVOY_AGENT at one that is",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["/.runvoy/agent\": permission denied", "/.runvoy/agent: permission denied"],
        of: Refused::Start,
        words: "the engine may not run the agent, as from a disk mounted noexec; point RUNVOY_AGENT at one it may run",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["chdir to cwd", "mkdir cwd", "working directory"],
        of: Refused::Start,
        words: "the working directory of `{image}` cannot be entered; mend the image's WORKDIR ({said})",
        lasts: Lasts::ForGood,
    },
    Saying {
        steps: BEGIN,
        any_of: &["network"],
        of: Refused::Start,
        words: "the engine cannot give the container its network; `docker network ls` shows which there are ({said})",
        lasts: Lasts::IfAsked,
    },
];
