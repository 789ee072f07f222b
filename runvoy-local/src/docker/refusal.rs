//! An engine's "no" in words: what it means, and what to do about it.

use runvoy_core::port::{Refusal, Refused};

use super::error::EngineError;
use super::sayings::{Lasts, known};

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
    /// Nobody answered, or what is left of an earlier try could not be removed.
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
    if let Some(saying) = known(step, &lower) {
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
