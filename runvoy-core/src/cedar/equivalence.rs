//! Slices and cache change no decision: random policies and questions, against the engine with all policies at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cedar_policy::{Authorizer as Engine, Context, Effect, Entities, EntityUid, PolicySet, Request};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::json;

use super::CedarAuthorizer;
use crate::id::{Email, ExecutionId, LockName, Role, SecretName};
use crate::port::{Action, Authorizer, AuthzRequest, Decision, PolicyId, Principal, Resource, RunContext};
use crate::secrets::WantedSecret;

const USERS: [&str; 3] = ["a@acme.test", "b@acme.test", "c@other.test"];
const COMMANDS: [&str; 3] = ["terraform apply", "terraform plan", "ls"];
const ADDRESSES: [&str; 3] = ["10.0.0.1", "192.0.2.1", "2001:db8::1"];
const HEX: [&str; 2] = ["00000000000000000000000000000000", "00000000000000000000000000000001"];

/// Scopes and conditions of every form; `{u}`, `{r}`, `{x}`, `{a}` and `{n}` stand for a user, role, execution, action, name.
const PRINCIPALS: [&str; 7] = [
    "principal",
    "principal",
    "principal == User::\"{u}\"",
    "principal in User::\"{u}\"",
    "principal in Role::\"{r}\"",
    "principal is User",
    "principal is User in Role::\"{r}\"",
];
const ACTIONS: [&str; 4] = [
    "action",
    "action == Action::\"{a}\"",
    "action in [Action::\"{a}\", Action::\"read_logs\"]",
    "action in []",
];
const RESOURCES: [&str; 19] = [
    "resource",
    "resource",
    "resource is Execution",
    "resource is System",
    "resource == System::\"runvoy\"",
    "resource == Execution::\"{x}\"",
    "resource in Execution::\"{x}\"",
    "resource is Execution in Execution::\"{x}\"",
    "resource is User",
    "resource == User::\"{u}\"",
    "resource in Role::\"{r}\"",
    "resource is User in Role::\"{r}\"",
    "resource is Lock",
    "resource == Lock::\"{n}\"",
    "resource is Image",
    "resource == Image::\"{n}\"",
    "resource is Secret",
    "resource in Secret::\"{n}\"",
    "resource is Secret in Secret::\"{n}\"",
];
const CONDITIONS: [&str; 25] = [
    "",
    "",
    "when { resource has owned_by && resource.owned_by.contains(principal) }",
    "unless { resource has owned_by && resource.owned_by.contains(User::\"{u}\") }",
    "when { resource is Execution && resource == Execution::\"{x}\" }",
    "when { resource is Execution && [Execution::\"{x}\"].contains(resource) }",
    // Fails for every other execution.
    "when { Execution::\"{x}\".owned_by.contains(principal) }",
    "when { principal == User::\"{u}\" }",
    "when { User::\"{u}\".email like \"a*\" }",
    "unless { principal.email like \"*@acme.test\" }",
    "when { context has command && context.command like \"*apply*\" }",
    "unless { context has hour && context.hour < 6 }",
    "when { context has address && context.address.isInRange(ip(\"10.0.0.0/8\")) }",
    "when { context has image && context.image == \"alpine\" }",
    "when { context has hour && context.hour * 9223372036854775807 < 7 }",
    "when { resource has name && resource.name like \"prod-*\" }",
    "when { resource has email && resource.email like \"a*\" }",
    "when { resource is User && resource == principal }",
    "when { resource in Role::\"{r}\" }",
    "when { resource is Lock && resource == Lock::\"{n}\" }",
    "unless { resource is Secret && [Secret::\"{n}\"].contains(resource) }",
    "when { context has lock && context.lock like \"prod-*\" }",
    "when { context has secrets && context.secrets.contains(\"{n}\") }",
    "when { context has git_repo } unless { context.git_repo like \"*/acme/*\" }",
    "when { resource has name && context has lock && resource.name == context.lock }",
];
const NAMES: [&str; 2] = ["prod-db", "infra"];
const REPOS: [&str; 2] = ["https://git.test/acme/app", "https://git.test/else/app"];

fn policy() -> impl Strategy<Value = String> {
    let any = prop::sample::select::<&'static str>;
    let of = |texts: &'static [&'static str]| any(texts.to_vec());
    let parts = (prop::bool::weighted(0.6), of(&PRINCIPALS), of(&ACTIONS), of(&RESOURCES), of(&CONDITIONS));
    let names = (
        of(&USERS),
        prop::sample::select(&Role::ALL[..]),
        of(&HEX),
        prop::sample::select(&Action::ALL[..]),
        of(&NAMES),
    );
    (parts, names)
        .prop_map(
            |((permit, principal, action, resource, condition), (user, role, execution, acted, name))| {
                let effect = if permit { "permit" } else { "forbid" };
                format!("{effect} ({principal}, {action}, {resource}) {condition};")
                    .replace("{u}", user)
                    .replace("{r}", role.as_str())
                    .replace("{x}", execution)
                    .replace("{a}", acted.as_str())
                    .replace("{n}", name)
            },
        )
        .prop_filter("a policy that is refused", |text| CedarAuthorizer::with_only(&[("", text)]).is_ok())
}

#[derive(Clone, Debug)]
struct Asked {
    user: Email,
    role: Role,
    action: Action,
    thing: Thing,
    run: Option<Run>,
}

#[derive(Clone, Debug)]
enum Thing {
    System,
    Execution(ExecutionId, Vec<Email>),
    User(Email),
    Lock(LockName),
    Image(&'static str, Vec<Email>),
    Secret(SecretName, Vec<Email>),
}

#[derive(Clone, Debug)]
struct Run {
    command: &'static str,
    image: Option<&'static str>,
    lock: Option<LockName>,
    secrets: Vec<WantedSecret>,
    git_repo: Option<&'static str>,
    address: Option<IpAddr>,
    hour: u8,
}

fn user() -> impl Strategy<Value = Email> {
    prop::sample::select(&USERS[..]).prop_map(|user| user.parse().unwrap())
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn thing() -> impl Strategy<Value = Thing> {
    let owners = || prop::collection::vec(user(), 0..3);
    prop_oneof![
        Just(Thing::System),
        ((0..3_u128).prop_map(ExecutionId::from_u128), owners())
            .prop_map(|(id, owners)| Thing::Execution(id, owners)),
        user().prop_map(Thing::User),
        name().prop_map(|name| Thing::Lock(name.parse().unwrap())),
        (name(), owners()).prop_map(|(name, owners)| Thing::Image(name, owners)),
        (name(), owners()).prop_map(|(name, owners)| Thing::Secret(name.parse().unwrap(), owners)),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let address = prop::sample::select(&ADDRESSES[..]).prop_map(|address| address.parse().unwrap());
    (
        prop::sample::select(&COMMANDS[..]),
        prop::option::of(prop::sample::select(&["alpine", "debian"][..])),
        prop::option::of(name().prop_map(|name| name.parse().unwrap())),
        prop::collection::vec(name().prop_map(|name| WantedSecret::named(name.parse().unwrap())), 0..2),
        prop::option::of(prop::sample::select(&REPOS[..])),
        prop::option::of(address),
        prop::sample::select(&[0, 5, 6, 23][..]),
    )
        .prop_map(|(command, image, lock, secrets, git_repo, address, hour)| Run {
            command,
            image,
            lock,
            secrets,
            git_repo,
            address,
            hour,
        })
}

fn asked() -> impl Strategy<Value = Asked> {
    let (role, action) = (prop::sample::select(&Role::ALL[..]), prop::sample::select(&Action::ALL[..]));
    (user(), role, action, thing(), prop::option::of(run()))
        .prop_map(|(user, role, action, thing, run)| Asked { user, role, action, thing, run })
}

impl Asked {
    /// The same about another thing of its kind, with another lock and secret at another hour.
    fn twin(&self) -> Self {
        let other = |name: &str| if name == NAMES[0] { NAMES[1] } else { NAMES[0] };
        let mut twin = self.clone();
        match &mut twin.thing {
            Thing::System => {}
            Thing::Execution(id, _) => {
                *id = ExecutionId::from_u128(u128::from(*id == ExecutionId::from_u128(0)));
            }
            Thing::User(email) => *email = self.user.clone(),
            Thing::Lock(name) => *name = other(name.as_str()).parse().unwrap(),
            Thing::Image(name, _) => *name = other(name),
            Thing::Secret(name, _) => *name = other(name.as_str()).parse().unwrap(),
        }
        if let Some(run) = &mut twin.run {
            run.hour = 23 - run.hour;
            run.lock = run.lock.as_ref().map(|lock| other(lock.as_str()).parse().unwrap());
            for secret in &mut run.secrets {
                secret.name = other(secret.name.as_str()).parse().unwrap();
            }
        }
        twin
    }

    fn request(&self) -> AuthzRequest<'_> {
        AuthzRequest {
            principal: Principal { user: &self.user, role: self.role },
            action: self.action,
            resource: match &self.thing {
                Thing::System => Resource::System,
                Thing::Execution(id, owners) => Resource::Execution { id: *id, owners },
                Thing::User(email) => Resource::User(email),
                Thing::Lock(name) => Resource::Lock(name),
                Thing::Image(name, owners) => Resource::Image { name, owners },
                Thing::Secret(name, owners) => Resource::Secret { name, owners },
            },
            run: self.run.as_ref().map(|run| RunContext {
                image_owners: &[],
                command: run.command,
                image: run.image,
                lock: run.lock.as_ref(),
                secrets: &run.secrets,
                git_repo: run.git_repo,
                address: run.address,
                hour: run.hour,
            }),
        }
    }

    fn uid(type_name: &str, id: &str) -> EntityUid {
        format!("{type_name}::\"{id}\"").parse().unwrap()
    }

    /// The answer of the engine itself, asked in JSON.
    fn expected(&self, policies: &PolicySet) -> Decision {
        let user = json!({"type": "User", "id": self.user});
        let mut entities = vec![json!({
            "uid": user, "attrs": {"email": self.user}, "parents": [{"type": "Role", "id": self.role}],
        })];
        let (kind, id, attributes) = self.thing.described();
        if kind != "System" && !(kind == "User" && id == self.user.as_str()) {
            entities.push(json!({"uid": {"type": kind, "id": id}, "attrs": attributes, "parents": []}));
        }
        let context = self.run.as_ref().filter(|_| self.action.has_context());
        let context = context.map_or_else(|| json!({}), Run::described);
        let request = Request::new(
            Self::uid("User", self.user.as_str()),
            Self::uid("Action", self.action.as_str()),
            Self::uid(kind, &id),
            Context::from_json_value(context, None).unwrap(),
            None,
        );
        let entities = Entities::from_json_value(entities.into(), None).unwrap();
        answer(policies, &request.unwrap(), &entities)
    }
}

impl Thing {
    /// Type, name and attributes, as the schema has them.
    fn described(&self) -> (&'static str, String, serde_json::Value) {
        let owned = |owners: &[Email]| -> Vec<_> {
            owners.iter().map(|owner| json!({"__entity": {"type": "User", "id": owner}})).collect()
        };
        match self {
            Self::System => ("System", "runvoy".to_owned(), json!({})),
            Self::Execution(id, owners) => ("Execution", id.to_string(), json!({"owned_by": owned(owners)})),
            Self::User(email) => ("User", email.to_string(), json!({"email": email})),
            Self::Lock(name) => ("Lock", name.to_string(), json!({"name": name})),
            Self::Image(name, owners) => {
                ("Image", (*name).to_owned(), json!({"name": name, "owned_by": owned(owners)}))
            }
            Self::Secret(name, owners) => {
                ("Secret", name.to_string(), json!({"name": name, "owned_by": owned(owners)}))
            }
        }
    }
}

impl Run {
    fn described(&self) -> serde_json::Value {
        let mut context = json!({"command": self.command, "hour": self.hour, "secrets": self.secrets.iter().map(|secret| &secret.name).collect::<Vec<_>>()});
        let lock = self.lock.as_ref().map(LockName::as_str);
        for (name, text) in [("image", self.image), ("lock", lock), ("git_repo", self.git_repo)] {
            if let Some(text) = text {
                context[name] = text.into();
            }
        }
        if let Some(address) = self.address {
            context["address"] = json!({"__extn": {"fn": "ip", "arg": address}});
        }
        context
    }
}

/// The documented reading: a `forbid` that fails forbids; of several policies the smallest name.
fn answer(policies: &PolicySet, request: &Request, entities: &Entities) -> Decision {
    let response = Engine::new().is_authorized(request, policies, entities);
    let named = |ids: BTreeSet<&str>| ids.first().map(|id| PolicyId((*id).into()));
    let reasons: BTreeSet<&str> = response.diagnostics().reason().map(AsRef::as_ref).collect();
    let failed: BTreeSet<&str> = response
        .diagnostics()
        .errors()
        .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| error.policy_id())
        .filter(|id| policies.policy(id).unwrap().effect() == Effect::Forbid)
        .map(AsRef::as_ref)
        .collect();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    if allowed && failed.is_empty() {
        Decision::Allow { policy: named(reasons) }
    } else {
        Decision::Deny { policy: if allowed || reasons.is_empty() { named(failed) } else { named(reasons) } }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slices_and_cache_change_no_decision(
        texts in prop::collection::vec(policy(), 0..12),
        questions in prop::collection::vec(asked(), 1..30),
    ) {
        let texts: Vec<_> = texts.iter().enumerate().map(|(n, text)| format!("@id(\"p{n}\")\n{text}")).collect();
        let files: Vec<_> = texts.iter().map(|text| ("file", text.as_str())).collect();
        let authorizer = CedarAuthorizer::with_only(&files).unwrap();
        let policies = texts.iter().enumerate().map(|(n, text)| {
            cedar_policy::Policy::parse(Some(cedar_policy::PolicyId::new(format!("p{n}"))), text).unwrap()
        });
        let policies = PolicySet::from_policies(policies).unwrap();
        // Each with its twin, which a key that holds too little would take for it, and all of them again.
        let questions: Vec<_> = questions.iter().flat_map(|asked| [asked.clone(), asked.twin()]).collect();
        for question in questions.iter().chain(&questions) {
            let decision = authorizer.authorize(&question.request()).now_or_never().unwrap().unwrap();
            prop_assert_eq!(decision, question.expected(&policies), "{:?}\n{}", question, texts.join("\n"));
        }
    }
}
