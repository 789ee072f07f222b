//! The port's words in the engine's: users, roles, what they act on, the system.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};

use crate::id::{Email, LockName, Role};
pub(super) use crate::port::ResourceKind as Kind;
use crate::port::{Action, AuthorizerError, AuthzRequest, BoxError, Resource, RunContext};

/// The one entity of type `System`.
pub(super) const SYSTEM: &str = "runvoy";

/// The schema's type names: parsing one costs more than a decision may.
pub(super) struct Types {
    pub(super) user: EntityTypeName,
    pub(super) role: EntityTypeName,
    pub(super) system: EntityTypeName,
    pub(super) execution: EntityTypeName,
    pub(super) lock: EntityTypeName,
    pub(super) image: EntityTypeName,
    pub(super) secret: EntityTypeName,
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
        lock: parse("Lock"),
        image: parse("Image"),
        secret: parse("Secret"),
        action: parse("Action"),
    }
});

/// What the engine has to know of a kind.
pub(super) trait Typed: Sized {
    /// The kind of that type.
    fn named(type_name: &EntityTypeName) -> Option<Self>;
    /// Its type.
    fn type_name(self) -> &'static EntityTypeName;
    /// Whether the name of such a thing is an attribute that policies can read.
    fn shows_name(self) -> bool;
}

impl Typed for Kind {
    fn named(type_name: &EntityTypeName) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name() == type_name)
    }

    fn type_name(self) -> &'static EntityTypeName {
        match self {
            Self::System => &TYPES.system,
            Self::Execution => &TYPES.execution,
            Self::User => &TYPES.user,
            Self::Lock => &TYPES.lock,
            Self::Image => &TYPES.image,
            Self::Secret => &TYPES.secret,
        }
    }

    fn shows_name(self) -> bool {
        !matches!(self, Self::System | Self::Execution)
    }
}

/// Which one of its kind a resource is.
pub(super) fn name_of<'a>(resource: &Resource<'a>) -> Cow<'a, str> {
    match *resource {
        Resource::System => Cow::Borrowed(SYSTEM),
        Resource::Execution { id, .. } => Cow::Owned(id.to_string()),
        Resource::User(email) => Cow::Borrowed(email.as_str()),
        Resource::Lock(name) => Cow::Borrowed(name.as_str()),
        Resource::Image { name, .. } => Cow::Borrowed(name),
        Resource::Secret { name, .. } => Cow::Borrowed(name.as_str()),
    }
}

pub(super) fn owners_of<'a>(resource: &Resource<'a>) -> &'a [Email] {
    match *resource {
        Resource::Execution { owners, .. }
        | Resource::Image { owners, .. }
        | Resource::Secret { owners, .. } => owners,
        Resource::System | Resource::User(_) | Resource::Lock(_) => &[],
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

pub(super) fn action_uid(action: Action) -> EntityUid {
    uid(&TYPES.action, action.as_str())
}

/// The engine's form of a question; with the context only where `run` is given.
///
/// The store holds who asks and what is asked about and nothing else: a decision depends on nothing but the
/// question.
pub(super) fn question(
    request: &AuthzRequest<'_>,
    run: Option<RunContext<'_>>,
) -> Result<(Request, Entities), AuthorizerError> {
    let user = uid(&TYPES.user, request.principal.user.as_str());
    let principal = user_entity(user.clone(), request.principal.user, request.principal.role)?;
    let kind = Kind::of(&request.resource);
    let resource = uid(kind.type_name(), &name_of(&request.resource));
    let mut entities = vec![principal];
    if let Some(entity) = resource_entity(kind, &resource, &request.resource)?
        && resource != user
    {
        entities.push(entity);
    }
    let store = Entities::from_entities(entities, None);
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

/// The attributes of what is asked about; nothing where it has none.
fn resource_entity(
    kind: Kind,
    resource: &EntityUid,
    asked: &Resource<'_>,
) -> Result<Option<Entity>, AuthorizerError> {
    let mut attributes = HashMap::new();
    if kind.shows_name() {
        let attribute = if kind == Kind::User { "email" } else { "name" };
        let name = RestrictedExpression::new_string(name_of(asked).into_owned());
        attributes.insert(attribute.to_owned(), name);
    }
    if matches!(kind, Kind::Execution | Kind::Image | Kind::Secret) {
        let owners = owners_of(asked).iter();
        let owners =
            owners.map(|owner| RestrictedExpression::new_entity_uid(uid(&TYPES.user, owner.as_str())));
        attributes.insert("owned_by".to_owned(), RestrictedExpression::new_set(owners));
    }
    if attributes.is_empty() {
        return Ok(None);
    }
    let entity = Entity::new(resource.clone(), attributes, HashSet::new());
    entity.map(Some).map_err(|e| broken("what it is asked about", e))
}

fn run_context(run: RunContext<'_>) -> Result<Context, AuthorizerError> {
    let mut pairs = vec![
        ("command".to_owned(), RestrictedExpression::new_string(run.command.to_owned())),
        ("hour".to_owned(), RestrictedExpression::new_long(i64::from(run.hour))),
    ];
    let texts = [("image", run.image), ("lock", run.lock.map(LockName::as_str)), ("git_repo", run.git_repo)];
    for (name, text) in texts {
        let text = text.map(|text| RestrictedExpression::new_string(text.to_owned()));
        pairs.extend(text.map(|text| (name.to_owned(), text)));
    }
    let secrets = run.secrets.iter().map(|secret| secret.name.as_str().to_owned());
    let secrets = secrets.map(RestrictedExpression::new_string);
    pairs.push(("secrets".to_owned(), RestrictedExpression::new_set(secrets)));
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
                ..RunContext::default()
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
