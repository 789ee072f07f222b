//! The port's words in the engine's: users, roles, executions, the system.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};

use crate::id::{Email, ExecutionId, Role};
use crate::port::{Action, AuthorizerError, AuthzRequest, BoxError, Resource, RunContext};

/// The one entity of type `System`.
pub(super) const SYSTEM: &str = "runvoy";

/// The schema's type names: parsing one costs more than a decision may.
pub(super) struct Types {
    pub(super) user: EntityTypeName,
    pub(super) role: EntityTypeName,
    pub(super) system: EntityTypeName,
    pub(super) execution: EntityTypeName,
    action: EntityTypeName,
}

pub(super) static TYPES: LazyLock<Types> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "literals, which every test of this module parses")]
    let parse = |name: &str| name.parse().expect("a type's name");
    Types {
        user: parse("User"),
        role: parse("Role"),
        system: parse("System"),
        execution: parse("Execution"),
        action: parse("Action"),
    }
});

/// What kind of thing is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    System,
    Execution,
}

impl Kind {
    pub(super) fn of(resource: &Resource<'_>) -> Self {
        match resource {
            Resource::System => Self::System,
            Resource::Execution { .. } => Self::Execution,
        }
    }

    pub(super) fn type_name(self) -> &'static EntityTypeName {
        match self {
            Self::System => &TYPES.system,
            Self::Execution => &TYPES.execution,
        }
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

fn execution_uid(id: ExecutionId) -> EntityUid {
    uid(&TYPES.execution, &id.to_string())
}

fn action_uid(action: Action) -> EntityUid {
    uid(&TYPES.action, action.as_str())
}

/// The engine's form of a question; with the context only where `run` is given.
///
/// The store holds who asks and what is asked about, no other user and no other execution: a decision depends on
/// nothing but the question.
pub(super) fn question(
    request: &AuthzRequest<'_>,
    run: Option<RunContext<'_>>,
) -> Result<(Request, Entities), AuthorizerError> {
    let user = uid(&TYPES.user, request.principal.user.as_str());
    let principal = user_entity(user.clone(), request.principal.user, request.principal.role)?;
    let (resource, store) = match request.resource {
        Resource::System => (uid(&TYPES.system, SYSTEM), Entities::from_entities([principal], None)),
        Resource::Execution { id, owners } => {
            let resource = execution_uid(id);
            let execution = execution_entity(resource.clone(), owners)?;
            (resource, Entities::from_entities([principal, execution], None))
        }
    };
    let store = store.map_err(|e| broken("the entities of a decision", e))?;
    let context = run.map_or_else(|| Ok(Context::empty()), run_context)?;
    let request = Request::new(user, action_uid(request.action), resource, context, None)
        .map_err(|e| broken("the question", e))?;
    Ok((request, store))
}

fn user_entity(user: EntityUid, email: &Email, role: Role) -> Result<Entity, AuthorizerError> {
    let email = RestrictedExpression::new_string(email.as_str().to_owned());
    let parents = HashSet::from([uid(&TYPES.role, role.as_str())]);
    Entity::new(user, HashMap::from([("email".to_owned(), email)]), parents).map_err(|e| broken("a user", e))
}

fn execution_entity(execution: EntityUid, owners: &[Email]) -> Result<Entity, AuthorizerError> {
    let owners =
        owners.iter().map(|owner| RestrictedExpression::new_entity_uid(uid(&TYPES.user, owner.as_str())));
    let owned_by = RestrictedExpression::new_set(owners);
    Entity::new(execution, HashMap::from([("owned_by".to_owned(), owned_by)]), HashSet::new())
        .map_err(|e| broken("an execution", e))
}

fn run_context(run: RunContext<'_>) -> Result<Context, AuthorizerError> {
    let mut pairs = vec![
        ("command".to_owned(), RestrictedExpression::new_string(run.command.to_owned())),
        ("hour".to_owned(), RestrictedExpression::new_long(i64::from(run.hour))),
    ];
    if let Some(image) = run.image {
        pairs.push(("image".to_owned(), RestrictedExpression::new_string(image.to_owned())));
    }
    if let Some(address) = run.address {
        // A dual-stack socket shows IPv4 peers as `::ffff:a.b.c.d`, which no policy means and the engine does not read.
        let address = address.to_canonical().to_string();
        pairs.push(("address".to_owned(), RestrictedExpression::new_ip(address)));
    }
    Context::from_pairs(pairs).map_err(|e| broken("the context of a run", e))
}

fn broken(what: &str, source: impl Into<BoxError>) -> AuthorizerError {
    AuthorizerError { what: format!("the policy engine does not take {what}"), source: Some(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Principal;

    #[test]
    fn every_form_of_address_is_taken() {
        let user: Email = "dev@acme.test".parse().unwrap();
        for address in ["10.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "::1", "::", "2001:db8::1", "fe80::1"] {
            let run = RunContext {
                command: "true",
                image: Some("alpine"),
                address: Some(address.parse().unwrap()),
                hour: 23,
            };
            let request = AuthzRequest {
                principal: Principal { user: &user, role: Role::Developer },
                action: Action::Run,
                resource: Resource::System,
                run: Some(run),
            };
            let asked = question(&request, Some(run)).map(|(request, _)| request.context().is_some());
            assert!(matches!(asked, Ok(true)), "{address}");
        }
    }
}
