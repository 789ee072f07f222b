//! Which policies can have a say in a question.
//!
//! The engine looks at every policy of its set, so it is given only those whose scope can match. That changes no
//! decision: the scope of a policy is tested before its condition, and where it does not match the policy neither
//! decides nor fails.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint,
};
use quick_cache::sync::Cache;

use super::entities::{Kind, TYPES, Typed as _, name_of};
use super::merge;
use super::policies::Rule;
use super::reads::Reads;
use crate::id::Role;
use crate::port::{Action, AuthorizerError, AuthzRequest, Resource};

/// Most slices that are kept: enough for every action and role beside many users and executions named by policies.
const SLICES: usize = 2048;

/// The scope of a policy.
pub(super) struct Scope {
    principal: Who,
    action: Does,
    resource: What,
}

enum Who {
    Anyone,
    InRole(Role),
    User(Box<str>),
    Nobody,
}

enum Does {
    Anything,
    One(Vec<Action>),
}

enum What {
    Anything,
    Any(Kind),
    One(Kind, Box<str>),
    Nothing,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            principal: Who::of(&policy.principal_constraint()),
            action: Does::of(&policy.action_constraint()),
            resource: What::of(&policy.resource_constraint()),
        }
    }
}

impl Who {
    /// Who asks is always a user, whose only ancestor is their role.
    fn of(constraint: &PrincipalConstraint) -> Self {
        let is_user = |type_name: &EntityTypeName| *type_name == TYPES.user;
        match constraint {
            PrincipalConstraint::Any => Self::Anyone,
            PrincipalConstraint::Is(type_name) if is_user(type_name) => Self::Anyone,
            PrincipalConstraint::Eq(uid) if is_user(uid.type_name()) => Self::within(uid),
            PrincipalConstraint::In(uid) => Self::within(uid),
            PrincipalConstraint::IsIn(type_name, uid) if is_user(type_name) => Self::within(uid),
            PrincipalConstraint::Is(_) | PrincipalConstraint::Eq(_) | PrincipalConstraint::IsIn(..) => {
                Self::Nobody
            }
        }
    }

    fn within(uid: &EntityUid) -> Self {
        let (type_name, id) = (uid.type_name(), uid.id().unescaped());
        if *type_name == TYPES.user {
            Self::User(id.into())
        } else if *type_name == TYPES.role {
            id.parse().map_or(Self::Nobody, Self::InRole)
        } else {
            Self::Nobody
        }
    }
}

impl Does {
    fn of(constraint: &ActionConstraint) -> Self {
        let one = |uids: &[EntityUid]| {
            let named = |action: &Action| uids.iter().any(|uid| uid.id().unescaped() == action.as_str());
            Self::One(Action::ALL.into_iter().filter(named).collect())
        };
        match constraint {
            ActionConstraint::Any => Self::Anything,
            ActionConstraint::Eq(uid) => one(std::slice::from_ref(uid)),
            ActionConstraint::In(uids) => one(uids),
        }
    }
}

impl What {
    /// No resource has ancestors, so `in` is `==`; but who asks about themselves is a resource with a role.
    fn of(constraint: &ResourceConstraint) -> Self {
        match constraint {
            ResourceConstraint::Any => Self::Anything,
            ResourceConstraint::Is(type_name) => Kind::named(type_name).map_or(Self::Nothing, Self::Any),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => Self::named(uid),
            ResourceConstraint::IsIn(type_name, uid)
                if type_name == uid.type_name() || *type_name == TYPES.user =>
            {
                Self::named(uid)
            }
            ResourceConstraint::IsIn(..) => Self::Nothing,
        }
    }

    fn named(uid: &EntityUid) -> Self {
        if *uid.type_name() == TYPES.role {
            return Self::Any(Kind::User);
        }
        match Kind::named(uid.type_name()) {
            Some(kind) => Self::One(kind, uid.id().unescaped().into()),
            None => Self::Nothing,
        }
    }
}

/// What decides which policies are in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SliceKey {
    action: Action,
    role: Role,
    kind: Kind,
    /// The user, where a scope names them.
    user: Option<usize>,
    /// What is asked about, where a scope names it.
    resource: Option<usize>,
}

/// The policies that can have a say.
pub(super) struct Slice {
    pub(super) policies: PolicySet,
    /// The same with every `forbid` in one, where that is cheaper to ask first.
    pub(super) merged: Option<PolicySet>,
    /// What they read of the context.
    pub(super) reads: Reads,
    /// One of them can tell resources of this kind apart.
    pub(super) tells_apart: bool,
}

/// The policies of a generation, and the slices of them that were asked for.
pub(super) struct Slices {
    rules: Vec<Rule>,
    users: HashMap<Box<str>, usize>,
    resources: HashMap<(Kind, Box<str>), usize>,
    built: Cache<SliceKey, Arc<Slice>>,
}

impl Slices {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut users = HashMap::new();
        let mut resources = HashMap::new();
        for rule in &rules {
            if let Who::User(user) = &rule.scope.principal {
                let next = users.len();
                users.entry(user.clone()).or_insert(next);
            }
            if let What::One(kind, name) = &rule.scope.resource {
                let next = resources.len();
                resources.entry((*kind, name.clone())).or_insert(next);
            }
        }
        Self { rules, users, resources, built: Cache::new(SLICES) }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(super) fn key(&self, request: &AuthzRequest<'_>) -> SliceKey {
        let kind = Kind::of(&request.resource);
        SliceKey {
            action: request.action,
            role: request.principal.role,
            kind,
            user: self.users.get(request.principal.user.as_str()).copied(),
            resource: self.named(kind, &request.resource),
        }
    }

    fn named(&self, kind: Kind, resource: &Resource<'_>) -> Option<usize> {
        if self.resources.is_empty() {
            return None;
        }
        self.resources.get(&(kind, name_of(resource).into())).copied()
    }

    pub(super) fn get(&self, key: SliceKey) -> Result<Arc<Slice>, AuthorizerError> {
        if let Some(slice) = self.built.get(&key) {
            return Ok(slice);
        }
        // Two that miss at once build the same slice; neither waits.
        let slice = Arc::new(self.build(key)?);
        self.built.insert(key, Arc::clone(&slice));
        Ok(slice)
    }

    fn build(&self, key: SliceKey) -> Result<Slice, AuthorizerError> {
        let mut slice =
            Slice { policies: PolicySet::new(), merged: None, reads: Reads::default(), tells_apart: false };
        for rule in self.rules.iter().filter(|rule| self.can_match(&rule.scope, key)) {
            slice.policies.add(rule.policy.clone()).map_err(|e| AuthorizerError {
                what: "the policies cannot be put together".to_owned(),
                source: Some(e.into()),
            })?;
            slice.reads |= rule.looks.context;
            slice.tells_apart |= rule.looks.tells_apart(key.kind.type_name());
        }
        slice.merged = merge::merge(&slice.policies);
        Ok(slice)
    }

    fn can_match(&self, scope: &Scope, key: SliceKey) -> bool {
        let principal = match &scope.principal {
            Who::Anyone => true,
            Who::InRole(role) => *role == key.role,
            Who::User(user) => key.user.is_some() && self.users.get(user).copied() == key.user,
            Who::Nobody => false,
        };
        let action = match &scope.action {
            Does::Anything => true,
            Does::One(actions) => actions.contains(&key.action),
        };
        let resource = match &scope.resource {
            What::Anything => true,
            What::Any(kind) => *kind == key.kind,
            // A name that is no one's stands in no key.
            What::One(kind, name) => {
                let named = self.resources.get(&(*kind, name.clone())).copied();
                *kind == key.kind && named.is_some() && named == key.resource
            }
            What::Nothing => false,
        };
        principal && action && resource
    }
}
