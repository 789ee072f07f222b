//! Slices and cache change no decision: random policies and questions, against the engine with all policies at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cedar_policy::{Authorizer as Engine, Context, Effect, Entities, EntityUid, PolicySet, Request};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::json;

use super::CedarAuthorizer;
use crate::id::{Email, ExecutionId, Role};
use crate::port::{Action, Authorizer, AuthzRequest, Decision, PolicyId, Principal, Resource, RunContext};

const USERS: [&str; 3] = ["a@acme.test", "b@acme.test", "c@other.test"];
const COMMANDS: [&str; 3] = ["terraform apply", "terraform plan", "ls"];
const ADDRESSES: [&str; 3] = ["10.0.0.1", "192.0.2.1", "2001:db8::1"];
const HEX: [&str; 2] = ["00000000000000000000000000000000", "00000000000000000000000000000001"];

/// Scopes and conditions of every form; `{u}`, `{r}`, `{x}` and `{a}` stand for a user, role, execution, action.
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
const RESOURCES: [&str; 8] = [
    "resource",
    "resource",
    "resource is Execution",
    "resource is System",
    "resource == System::\"runvoy\"",
    "resource == Execution::\"{x}\"",
    "resource in Execution::\"{x}\"",
    "resource is Execution in Execution::\"{x}\"",
];
const CONDITIONS: [&str; 15] = [
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
];

fn policy() -> impl Strategy<Value = String> {
    let any = prop::sample::select::<&'static str>;
    let of = |texts: &'static [&'static str]| any(texts.to_vec());
    let parts = (prop::bool::weighted(0.6), of(&PRINCIPALS), of(&ACTIONS), of(&RESOURCES), of(&CONDITIONS));
    let names =
        (of(&USERS), prop::sample::select(&Role::ALL[..]), of(&HEX), prop::sample::select(&Action::ALL[..]));
    (parts, names)
        .prop_map(|((permit, principal, action, resource, condition), (user, role, execution, name))| {
            let effect = if permit { "permit" } else { "forbid" };
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
                .replace("{u}", user)
                .replace("{r}", role.as_str())
                .replace("{x}", execution)
                .replace("{a}", name.as_str())
        })
        .prop_filter("a policy that is refused", |text| CedarAuthorizer::with_only(&[("", text)]).is_ok())
}

#[derive(Clone, Debug)]
struct Asked {
    user: Email,
    role: Role,
    action: Action,
    execution: Option<(ExecutionId, Vec<Email>)>,
    run: Option<(&'static str, Option<&'static str>, Option<IpAddr>, u8)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let user = || prop::sample::select(&USERS[..]).prop_map(|user| user.parse::<Email>().unwrap());
    let execution = (0..3_u128).prop_map(ExecutionId::from_u128);
    let execution = prop::option::weighted(0.7, (execution, prop::collection::vec(user(), 0..3)));
    let address = prop::sample::select(&ADDRESSES[..]).prop_map(|address| address.parse().unwrap());
    let run = (
        prop::sample::select(&COMMANDS[..]),
        prop::option::of(prop::sample::select(&["alpine", "debian"][..])),
        prop::option::of(address),
        prop::sample::select(&[0, 5, 6, 23][..]),
    );
    let (role, action) = (prop::sample::select(&Role::ALL[..]), prop::sample::select(&Action::ALL[..]));
    (user(), role, action, execution, prop::option::of(run))
        .prop_map(|(user, role, action, execution, run)| Asked { user, role, action, execution, run })
}

impl Asked {
    /// The same about another execution, at another hour.
    fn twin(&self) -> Self {
        let mut twin = self.clone();
        if let Some((id, _)) = &mut twin.execution {
            *id = ExecutionId::from_u128(u128::from(*id == ExecutionId::from_u128(0)));
        }
        if let Some((_, _, _, hour)) = &mut twin.run {
            *hour = 23 - *hour;
        }
        twin
    }

    fn request(&self) -> AuthzRequest<'_> {
        AuthzRequest {
            principal: Principal { user: &self.user, role: self.role },
            action: self.action,
            resource: match &self.execution {
                None => Resource::System,
                Some((id, owners)) => Resource::Execution { id: *id, owners },
            },
            run: self.run.map(|(command, image, address, hour)| RunContext {
                command,
                image,
                address,
                hour,
                ..RunContext::default()
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
        let mut resource = Self::uid("System", "runvoy");
        if let Some((id, owners)) = &self.execution {
            resource = Self::uid("Execution", &id.to_string());
            let owners: Vec<_> =
                owners.iter().map(|owner| json!({"__entity": {"type": "User", "id": owner}})).collect();
            entities.push(json!({
                "uid": {"type": "Execution", "id": id}, "attrs": {"owned_by": owners}, "parents": [],
            }));
        }
        let mut context = json!({});
        if let Some((command, image, address, hour)) = self.run.filter(|_| self.action.has_context()) {
            context = json!({"command": command, "hour": hour, "secrets": []});
            if let Some(image) = image {
                context["image"] = image.into();
            }
            if let Some(address) = address {
                context["address"] = json!({"__extn": {"fn": "ip", "arg": address}});
            }
        }
        let request = Request::new(
            Self::uid("User", self.user.as_str()),
            Self::uid("Action", self.action.as_str()),
            resource,
            Context::from_json_value(context, None).unwrap(),
            None,
        );
        let entities = Entities::from_json_value(entities.into(), None).unwrap();
        answer(policies, &request.unwrap(), &entities)
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
