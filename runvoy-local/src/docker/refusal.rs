//! An engine's "no" in words: what it means, and what to do about it.

use runvoy_core::port::{Refusal, Refused};

use super::error::EngineError;

/// What the engine was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pull,
    Create,
    Start,
}

/// Why a task is not started.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It never can be.
    Refused(Refusal),
    /// It could not be this time; the sentence is for when that stays so.
    Failed(String),
    /// The same, where more is known of what stands in the way.
    Passing(Refusal),
    /// Nobody answered.
    Silent(String),
}

/// What an error means for a task in an image.
pub(super) fn trouble(step: Step, image: &str, error: EngineError) -> Trouble {
    match error {
        EngineError::Said { status, message } => said(step, image, status, &message),
        other => Trouble::Silent(error_chain(&other)),
    }
}

/// An error and its causes, in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.extend([": ", &cause.to_string()]);
        source = cause.source();
    }
    text
}

/// What an engine says, in lower case, and what we make of it; `{image}` and `{said}` are put in.
struct Saying {
    steps: &'static [Step],
    any_of: &'static [&'static str],
    of: Refused,
    words: &'static str,
    lasts: Lasts,
}

/// Whether what was said will be said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
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

fn said(step: Step, image: &str, status: u16, message: &str) -> Trouble {
    let lower = message.to_lowercase();
    if step == Step::Create && lower.contains("no such image") {
        // It was there a moment ago: the next attempt pulls it.
        return Trouble::Failed(format!("the image `{image}` was removed while it was needed; run it again"));
    }
    if step == Step::Start && lower.contains("no such container") {
        // As above.
        return Trouble::Failed("its container was removed before it was started; run it again".to_owned());
    }
    let lower = without_reference(&lower, image);
    let known = SAYINGS
        .iter()
        .find(|saying| saying.steps.contains(&step) && saying.any_of.iter().any(|text| lower.contains(text)));
    if let Some(saying) = known {
        let message = saying.words.replace("{image}", image).replace("{said}", &short(message));
        let refusal = Refusal { of: saying.of, message };
        return match saying.lasts {
            Lasts::PerhapsNot => Trouble::Passing(refusal),
            Lasts::IfAsked if status >= 500 => Trouble::Passing(refusal),
            Lasts::ForGood | Lasts::IfAsked => Trouble::Refused(refusal),
        };
    }
    let message = format!("the engine does not start it: {}; look at the engine's log", short(message));
    if (400..500).contains(&status) && status != 409 {
        return Trouble::Refused(Refusal { of: Refused::Start, message });
    }
    Trouble::Failed(message)
}

/// An engine's words, in lower case, without what is only the image's own name: that may be any word.
fn without_reference(text: &str, image: &str) -> String {
    let image = image.to_lowercase();
    let (named, digest) = image.split_once('@').unwrap_or((&image, ""));
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (named, ""),
    };
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
    let (host, path) = name.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or(("", name));
    // The longest first: a part of a word is none.
    let parts = [image.as_str(), named, name, path, host, digest, tag];
    parts.into_iter().filter(|part| !part.is_empty()).fold(text.to_owned(), |text, part| without(&text, part))
}

/// A text without a word, wherever that stands by itself.
fn without(text: &str, word: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        kept.push_str(before);
        let is_part = kept.ends_with(is_of_word) || after.starts_with(is_of_word);
        kept.push_str(if is_part { word } else { "" });
        rest = after;
    }
    kept + rest
}

/// The engine's words on one line, cut where they become a page.
fn short(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What engines have answered at a step, and what a user is told of it.
    const ANSWERS: &[(Step, u16, &str, Refused, &str)] = &[
        (
            Step::Pull,
            0,
            "failed to register layer: Error processing tar file(exit status 1): write /big: no space left on device",
            Refused::Start,
            "the engine's disk is full",
        ),
        (
            Step::Create,
            500,
            "write /var/lib/docker/overlay2/8dca852e-init/link: no space left on device",
            Refused::Start,
            "docker system prune",
        ),
        (
            Step::Start,
            500,
            "failed to update store for object type *libnetwork.endpoint: write /var/lib/docker/network/files/local-kv.db: no space left on device",
            Refused::Start,
            "the engine's disk is full",
        ),
        (
            Step::Pull,
            404,
            "pull access denied for none, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Refused::Image,
            "there is no image `tool:1`, or it is private",
        ),
        (
            Step::Pull,
            404,
            "manifest for tool:1 not found: manifest unknown: manifest unknown",
            Refused::Image,
            "there is no image",
        ),
        (
            Step::Pull,
            500,
            "Get \"https://tool/v2/\": dial tcp: lookup tool on 10.0.0.2:53: no such host",
            Refused::Image,
            "cannot be reached by the engine",
        ),
        (
            Step::Pull,
            500,
            "Get \"https://tool/v2/\": unauthorized: authentication required",
            Refused::Image,
            "who logs in",
        ),
        (
            Step::Pull,
            500,
            "toomanyrequests: You have reached your pull rate limit.",
            Refused::Image,
            "takes no more pulls for now",
        ),
        (
            Step::Pull,
            404,
            "no matching manifest for linux/riscv64 in the manifest list entries",
            Refused::Image,
            "for the architecture asked for",
        ),
        (
            Step::Create,
            404,
            "image with reference tool:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64",
            Refused::Image,
            "for the architecture asked for",
        ),
        (Step::Create, 400, "invalid reference format", Refused::Image, "NAME:TAG"),
        (
            Step::Create,
            400,
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            Refused::Start,
            "--cpu",
        ),
        (Step::Create, 400, "Minimum memory limit allowed is 6MB", Refused::Start, "--memory"),
        (
            Step::Create,
            400,
            "invalid mount config for type \"bind\": bind source path does not exist: /data",
            Refused::Start,
            "run the server where the engine runs",
        ),
        (
            Step::Start,
            400,
            "OCI runtime create failed: exec: \"/.runvoy/agent\": permission denied: unknown",
            Refused::Start,
            "noexec",
        ),
        (Step::Start, 500, "exec user process caused: exec format error", Refused::Start, "RUNVOY_AGENT"),
        (Step::Start, 404, "network build not found", Refused::Start, "docker network ls"),
        (Step::Create, 400, "something new", Refused::Start, "something new"),
    ];

    #[test]
    fn the_answers_of_engines_are_told_in_words() {
        for (step, status, said_by_engine, of, words) in ANSWERS {
            match said(*step, "tool:1", *status, said_by_engine) {
                Trouble::Refused(refusal) | Trouble::Passing(refusal) => {
                    assert_eq!(refusal.of, *of, "{said_by_engine}: {refusal}");
                    assert!(refusal.message.contains(words), "{said_by_engine}: {refusal}");
                }
                other => panic!("{said_by_engine}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (step, status, said_by_engine) in [
            (Step::Create, 404, "No such image: tool:1"),
            (Step::Start, 500, "context deadline exceeded"),
            (Step::Start, 409, "removal of container is already in progress"),
            (Step::Start, 404, "No such container: runvoy-0f5ac3"),
            (
                Step::Start,
                500,
                "failed to create endpoint on network bridge: iptables: resource temporarily unavailable",
            ),
            (Step::Create, 503, "network is being set up"),
            (Step::Pull, 500, "Get \"https://tool/v2/\": dial tcp: i/o timeout"),
            (Step::Pull, 0, "unexpected EOF"),
        ] {
            let trouble = said(step, "tool:1", status, said_by_engine);
            let is_tried_again = matches!(trouble, Trouble::Failed(_) | Trouble::Passing(_));
            assert!(is_tried_again, "{said_by_engine}: {trouble:?}");
        }
    }

    #[test]
    fn the_name_of_an_image_says_nothing_of_what_is_wrong_with_it() {
        for (image, status, said_by_engine) in [
            (
                "acme/tls-proxy",
                404,
                "pull access denied for acme/tls-proxy, repository does not exist or may require 'docker login'",
            ),
            ("acme/tls", 404, "manifest for acme/tls:latest not found: manifest unknown: manifest unknown"),
            ("timeout:1", 404, "manifest for timeout:1 not found: manifest unknown: manifest unknown"),
            ("tls.acme.test/a:1", 404, "manifest for tls.acme.test/a:1 not found: manifest unknown"),
            ("host:5000/a/tls@sha256:01", 404, "manifest for host:5000/a/tls@sha256:01 not found"),
        ] {
            match said(Step::Pull, image, status, said_by_engine) {
                Trouble::Refused(Refusal { of: Refused::Image, message }) => {
                    assert!(message.starts_with(&format!("there is no image `{image}`")), "{message}");
                }
                other => panic!("{image}: {other:?}"),
            }
        }
        // What is wrong has to be seen all the same.
        let trouble = said(Step::Pull, "acme/tls-proxy", 500, "remote error: tls: handshake failure");
        assert!(matches!(trouble, Trouble::Passing(_)), "{trouble:?}");
    }
}
