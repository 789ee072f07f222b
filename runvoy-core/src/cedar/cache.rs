//! Decisions that were made before, by everything that was given to them.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::slice::SliceKey;
use crate::id::{Email, ExecutionId, LockName};
use crate::port::{Decision, Resource, RunContext};
use crate::secrets::WantedSecret;

/// Bytes of keys that are kept. A command can be 64 KiB, so counting entries would bound nothing.
const BYTES: u64 = 8 * 1024 * 1024;
/// About what an entry costs beside its texts.
const ENTRY_BYTES: u64 = 256;

/// Everything a decision of one generation can depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// Action, role and kind of resource, and which named ones.
    pub(super) slice: SliceKey,
    pub(super) user: &'a Email,
    pub(super) owners: &'a [Email],
    /// Only where a policy of the slice can tell one from another with equal attributes, or where its name is one.
    pub(super) resource: Option<Named<'a>>,
    /// What the policies of the slice read of it, if anything.
    pub(super) run: Option<RunContext<'a>>,
}

/// Which one of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Named<'a> {
    Execution(ExecutionId),
    Other(&'a str),
}

impl<'a> Named<'a> {
    pub(super) fn of(resource: &Resource<'a>) -> Option<Self> {
        match *resource {
            Resource::System => None,
            Resource::Execution { id, .. } => Some(Self::Execution(id)),
            Resource::User(email) => Some(Self::Other(email.as_str())),
            Resource::Lock(name) => Some(Self::Other(name.as_str())),
            Resource::Image { name, .. } => Some(Self::Other(name)),
            Resource::Secret { name, .. } => Some(Self::Other(name.as_str())),
        }
    }
}

impl Hash for Query<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slice.hash(state);
        self.user.hash(state);
        self.owners.hash(state);
        self.resource.hash(state);
        self.run.hash(state);
    }
}

/// A [`Query`] that outlives its request. Compared field by field: a collision of hashes is no match.
struct Key {
    slice: SliceKey,
    user: Email,
    owners: Box<[Email]>,
    resource: Option<OwnedName>,
    run: Option<OwnedRun>,
}

enum OwnedName {
    Execution(ExecutionId),
    Other(Box<str>),
}

struct OwnedRun {
    command: Box<str>,
    image: Option<Box<str>>,
    lock: Option<LockName>,
    secrets: Box<[WantedSecret]>,
    git_repo: Option<Box<str>>,
    address: Option<IpAddr>,
    hour: u8,
}

impl Key {
    fn query(&self) -> Query<'_> {
        Query {
            slice: self.slice,
            user: &self.user,
            owners: &self.owners,
            resource: self.resource.as_ref().map(|resource| match resource {
                OwnedName::Execution(id) => Named::Execution(*id),
                OwnedName::Other(name) => Named::Other(name),
            }),
            run: self.run.as_ref().map(|run| RunContext {
                command: &run.command,
                image: run.image.as_deref(),
                // Those of a resource stand beside it; a policy reads no others.
                image_owners: &[],
                lock: run.lock.as_ref(),
                secrets: &run.secrets,
                git_repo: run.git_repo.as_deref(),
                address: run.address,
                hour: run.hour,
            }),
        }
    }
}

impl From<Query<'_>> for Key {
    fn from(query: Query<'_>) -> Self {
        Self {
            slice: query.slice,
            user: query.user.clone(),
            owners: query.owners.into(),
            resource: query.resource.map(|resource| match resource {
                Named::Execution(id) => OwnedName::Execution(id),
                Named::Other(name) => OwnedName::Other(name.into()),
            }),
            run: query.run.map(|run| OwnedRun {
                command: run.command.into(),
                image: run.image.map(Into::into),
                lock: run.lock.cloned(),
                secrets: run.secrets.into(),
                git_repo: run.git_repo.map(Into::into),
                address: run.address,
                hour: run.hour,
            }),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.query() == other.query()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.query().hash(state);
    }
}

impl Equivalent<Key> for Query<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.query()
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Decision> for Weight {
    fn weight(&self, key: &Key, _: &Decision) -> u64 {
        let run = key.run.as_ref().map_or(0, |run| {
            let texts = [&run.image, &run.git_repo].into_iter().flatten().map(|text| text.len());
            run.command.len() + texts.sum::<usize>() + run.secrets.len() * 128
        });
        let owners: usize = key.owners.iter().map(|owner| 32 + owner.as_str().len()).sum();
        ENTRY_BYTES + (key.user.as_str().len() + owners + run) as u64
    }
}

/// The decisions of one generation of policies; they go with it.
pub(super) struct Decisions(Cache<Key, Decision, Weight>);

impl Decisions {
    pub(super) fn new() -> Self {
        let entries = usize::try_from(BYTES / ENTRY_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, BYTES, Weight))
    }

    pub(super) fn get(&self, query: &Query<'_>) -> Option<Decision> {
        self.0.get(query)
    }

    pub(super) fn insert(&self, query: Query<'_>, decision: Decision) {
        self.0.insert(query.into(), decision);
    }
}
