//! The keys of a playbook: an unknown one is told with its line, and with the one that was probably meant.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// Every key, in the order of the documentation.
pub(super) const KEYS: [&str; 12] = [
    "description",
    "commands",
    "image",
    "env",
    "secrets",
    "git_repo",
    "git_ref",
    "git_path",
    "git_token_secret",
    "lock",
    "on_lock_held",
    "timeout",
];

/// Names less alike than this are not taken for a slip.
const ALIKE: f64 = 0.5;

/// Refuses a key that is unknown, or stands twice.
pub(super) fn check(text: &str) -> Result<(), serde_yaml_ng::Error> {
    serde_yaml_ng::from_str::<Option<Keys>>(text).map(|_| ())
}

/// The name among `known` that `name` was probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|candidate| (likeness(name, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, candidate)| candidate)
}

/// 0 to 1. A slip of the finger, a name cut short (`environment`, `env`) and a part of a name (`repo`, `git_repo`) are
/// all alike.
fn likeness(name: &str, known: &str) -> f64 {
    if known.split(['_', '/']).any(|part| part == name) {
        return 1.0;
    }
    strsim::jaro_winkler(name, known).max(strsim::normalized_damerau_levenshtein(name, known))
}

fn unknown(name: &str) -> String {
    match nearest(name, KEYS) {
        Some(meant) => format!("unknown key `{name}`; did you mean `{meant}`?"),
        None => format!("unknown key `{name}`; known are {}", KEYS.join(", ")),
    }
}

/// The keys of a document, looked at and forgotten.
struct Keys;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AllKeys)
    }
}

struct AllKeys;

impl<'de> Visitor<'de> for AllKeys {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`KEY: VALUE` lines")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut seen = BTreeSet::new();
        while map.next_key_seed(OneKey { seen: &mut seen })?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(Keys)
    }
}

/// Raised while a key is read, an error knows its line.
struct OneKey<'a> {
    seen: &'a mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for OneKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneKey<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        if !KEYS.contains(&name) {
            return Err(E::custom(unknown(name)));
        }
        if !self.seen.insert(name.to_owned()) {
            return Err(E::custom(format!("the key `{name}` stands twice")));
        }
        Ok(())
    }
}
