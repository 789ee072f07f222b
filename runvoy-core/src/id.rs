//! Names of things, validated when parsed and trusted after.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be. `Display` is a fragment that follows the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseIdError(pub(crate) &'static str);

/// 16 bytes from the operating system's generator.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    #[expect(clippy::expect_used, reason = "getrandom(2) fails only on kernels older than any this runs on")]
    getrandom::fill(&mut bytes).expect("the system has a random generator");
    bytes
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $wrong:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// A new, random one.
            pub fn random() -> Self {
                Self(u128::from_be_bytes(random_bytes()))
            }

            /// One made of the given number; for tests that want names they can predict.
            pub const fn from_u128(value: u128) -> Self {
                Self(value)
            }

            /// The number that it is.
            pub const fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                hex.then(|| u128::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(Self)
                    .ok_or(ParseIdError($wrong))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// An execution: 128 random bits, written as 32 lower-case hex digits.
    ///
    /// ```
    /// use runvoy_core::id::ExecutionId;
    ///
    /// let id = ExecutionId::random();
    /// assert_eq!(id.to_string().parse(), Ok(id));
    /// assert!("0F5AC3".parse::<ExecutionId>().is_err());
    /// ```
    ExecutionId, "an execution id is 32 lower-case hex digits"
}
hex_id! {
    /// A request to the API, as `X-Request-Id` names it.
    RequestId, "a request id is 32 lower-case hex digits"
}

/// The beginning of an execution's id: 6 to 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix(String);

impl IdPrefix {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole id, if this is one.
    pub fn whole(&self) -> Option<ExecutionId> {
        self.0.parse().ok()
    }

    /// Whether `id` begins with this.
    pub fn matches(&self, id: ExecutionId) -> bool {
        id.to_string().starts_with(&self.0)
    }

    /// The first and the last id that begin with this.
    pub fn range(&self) -> (ExecutionId, ExecutionId) {
        let bound = |fill: char| {
            let text: String = self.0.chars().chain(std::iter::repeat(fill)).take(32).collect();
            ExecutionId(u128::from_str_radix(&text, 16).unwrap_or_default())
        };
        (bound('0'), bound('f'))
    }
}

impl FromStr for IdPrefix {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let fits = (crate::limits::ID_PREFIX..=32).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError("an execution is named by 6 to 32 lower-case hex digits of its id"))
        }
    }
}

impl From<ExecutionId> for IdPrefix {
    fn from(id: ExecutionId) -> Self {
        Self(id.to_string())
    }
}

/// Who somebody is: a bare email address.
///
/// ```
/// use runvoy_core::id::Email;
///
/// assert!("dev@acme.test".parse::<Email>().is_ok());
/// assert!("Dev <dev@acme.test>".parse::<Email>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Email(Arc<str>);

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// Who does what nobody asked for. No mail reaches it: the domain is reserved (RFC 2606).
    pub fn system() -> Self {
        Self("system@runvoy.invalid".into())
    }
}

impl FromStr for Email {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let options = email_address::Options::default().without_display_text().without_domain_literal();
        email_address::EmailAddress::parse_with_options(text, options)
            .map(|_| Self(text.into()))
            .map_err(|_| ParseIdError("an email address has the form `name@host`"))
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What somebody may do, by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, people included.
    Admin,
    /// Everything but people.
    Operator,
    /// Runs commands and sees their own.
    Developer,
    /// Sees what runs.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Developer, Self::Viewer];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ParseIdError("a role is `admin`, `operator`, `developer` or `viewer`"))
    }
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $check:expr, $wrong:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(ParseIdError($wrong)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

checked_name! {
    /// The name of a lock.
    ///
    /// ```
    /// use runvoy_core::id::LockName;
    ///
    /// assert!("infra/prod".parse::<LockName>().is_ok());
    /// assert!("../prod".parse::<LockName>().is_err());
    /// ```
    LockName, is_path_name, "a lock's name is 1 to 128 of A-Z a-z 0-9 . _ - and / inside, without `..`"
}
checked_name! {
    /// The name of a playbook: where it is, below the directory of all.
    PlaybookName, is_path_name, "a playbook's name is 1 to 128 of A-Z a-z 0-9 . _ - and / inside, without `..`"
}
checked_name! {
    /// The name of a secret.
    SecretName, is_plain_name, "a secret's name is 1 to 128 of A-Z a-z 0-9 . _ -"
}

fn is_plain_name(text: &str) -> bool {
    (1..=crate::limits::NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Parts as in a path, none of them empty or a step upwards.
fn is_path_name(text: &str) -> bool {
    text.len() <= crate::limits::NAME && text.split('/').all(|part| is_plain_name(part) && part != "..")
}

/// Whether `text` names an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
pub fn is_variable_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_spans_the_ids_that_begin_with_it() {
        let prefix: IdPrefix = "abcdef".parse().unwrap();
        let (first, last) = prefix.range();
        assert_eq!(first.to_string(), format!("abcdef{}", "0".repeat(26)));
        assert_eq!(last.to_string(), format!("abcdef{}", "f".repeat(26)));
        assert!(prefix.matches(first) && prefix.matches(last));
        assert!("abcde".parse::<IdPrefix>().is_err());
        assert!("ABCDEF".parse::<IdPrefix>().is_err());
    }

    #[test]
    fn a_lock_is_named_like_a_path_that_stays_inside() {
        for good in ["a", "infra-prod", "infra/prod/eu.1", ".hidden", &"x".repeat(128)] {
            assert!(good.parse::<LockName>().is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a b", "a%b", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<LockName>().is_err(), "{bad:?}");
        }
        assert!("a/b".parse::<SecretName>().is_err());
        assert!("A.b_c-1".parse::<SecretName>().is_ok());
    }

    #[test]
    fn an_email_is_a_bare_address() {
        for good in ["a@b", "admin@localhost", "first.last+tag@sub.example.org"] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "A <a@b>", "a@b c", "a@b\n"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }
}
