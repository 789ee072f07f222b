//! Secrets: what is known of one, what it holds, and the one function that changes it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::{Email, RequestId, SecretName};

/// What a secret holds. `Debug` shows nothing of it, and its memory is wiped when it is dropped.
///
/// ```
/// use runvoy_core::secrets::SecretValue;
///
/// let value = SecretValue::new("s3cr3t");
/// assert_eq!(value.reveal(), "s3cr3t");
/// assert_eq!(format!("{value:?}"), "SecretValue(..)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself, for whoever may have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// What is known of a secret, its value apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// The variable that carries it in a command's environment.
    pub key_name: String,
    /// What it is for.
    pub description: String,
    /// Which value it has: 1 at first, and one more with each other.
    pub version: u64,
    /// Who created it.
    pub created_by: Email,
    /// Who has an owner's rights over it; never nobody.
    pub owned_by: Vec<Email>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who last changed it.
    pub updated_by: Email,
    /// The request that created it. Tells it from others that had its name before or have it later.
    pub created_by_request_id: RequestId,
    /// The request that last changed it.
    pub modified_by_request_id: RequestId,
}

impl Secret {
    /// Applies a change. Every store changes secrets by this function alone.
    pub fn apply(&mut self, change: &SecretChange) {
        let SecretChange { key_name, description, value, by, at, request } = change;
        if let Some(key_name) = key_name {
            self.key_name.clone_from(key_name);
        }
        if let Some(description) = description {
            self.description.clone_from(description);
        }
        if value.is_some() {
            self.version += 1;
        }
        self.updated_by = by.clone();
        self.updated_at = *at;
        self.modified_by_request_id = *request;
    }
}

/// A change of a secret: what is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretChange {
    /// The variable that carries it.
    pub key_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its value.
    pub value: Option<SecretValue>,
    /// Who changes it.
    pub by: Email,
    /// When.
    pub at: Timestamp,
    /// By which request.
    pub request: RequestId,
}

impl SecretChange {
    /// One that only notes who it is by.
    pub fn nothing(by: Email, at: Timestamp, request: RequestId) -> Self {
        Self { key_name: None, description: None, value: None, by, at, request }
    }

    /// Whether it leaves all that matters as it is.
    pub fn is_nothing(&self) -> bool {
        self.key_name.is_none() && self.description.is_none() && self.value.is_none()
    }

    /// What it changes, by the fields' names.
    pub fn names(&self) -> String {
        let fields = [
            ("key_name", self.key_name.is_some()),
            ("description", self.description.is_some()),
            ("value", self.value.is_some()),
        ];
        let named: Vec<_> = fields.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        named.join(", ")
    }
}

/// A secret that a run asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WantedSecret {
    /// Its name.
    pub name: SecretName,
    /// Who owns it; nobody, where there is no such secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Email>,
    /// The request that created it: a run gets the secret that it was authorised for, and no later one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<RequestId>,
    /// Whether the command gets it as a variable; else it is for the checkout of its code alone.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub is_variable: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(value: &bool) -> bool {
    *value
}

impl WantedSecret {
    /// A secret of which only the name is known.
    pub fn named(name: SecretName) -> Self {
        Self { name, owners: Vec::new(), made_by: None, is_variable: true }
    }

    /// A secret that is there.
    pub(crate) fn of(secret: &Secret) -> Self {
        let made_by = Some(secret.created_by_request_id);
        Self { name: secret.name.clone(), owners: secret.owned_by.clone(), made_by, is_variable: true }
    }
}

/// A secret in an execution's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Its name.
    pub name: SecretName,
    /// The version that a task was given; `None` until one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl SecretUse {
    /// A use that is wanted.
    pub fn of(wanted: &WantedSecret) -> Self {
        Self { name: wanted.name.clone(), version: None }
    }
}

/// Notes what a task is given. A start that was tried again after the secret had changed leaves both versions: either
/// task may be the one that ran.
pub(crate) fn note_use(uses: &mut Vec<SecretUse>, given: &SecretUse) {
    if uses.contains(given) {
        return;
    }
    match uses.iter_mut().find(|known| known.name == given.name && known.version.is_none()) {
        Some(known) => known.version = given.version,
        None => uses.push(given.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, version: Option<u64>) -> SecretUse {
        SecretUse { name: name.parse().unwrap(), version }
    }

    #[test]
    fn every_version_that_a_task_was_given_is_noted_once() {
        let mut uses = vec![given("a", None), given("b", None)];
        for version in [1, 1, 2, 1] {
            note_use(&mut uses, &given("a", Some(version)));
        }
        assert_eq!(uses, [given("a", Some(1)), given("b", None), given("a", Some(2))]);
    }
}
