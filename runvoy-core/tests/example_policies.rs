//! The policies of `examples/policies` do what they say, and no more than that.
#![cfg(feature = "cedar")]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use futures_util::FutureExt;
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::id::{Email, LockName, Role, SecretName};
use runvoy_core::port::{Action, Authorizer, AuthzRequest, Decision, Principal, Resource, RunContext};

/// The policy that denies; `None` where it is allowed.
fn denied_by(
    file: &str,
    role: Role,
    action: Action,
    resource: Resource<'_>,
    run: RunContext<'_>,
) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let authorizer = CedarAuthorizer::with_policies(&[(file, &text)]).unwrap();
    let user: Email = "me@acme.test".parse().unwrap();
    let run = action.has_context().then_some(run);
    let request = AuthzRequest { principal: Principal { user: &user, role }, action, resource, run };
    match authorizer.authorize(&request).now_or_never().unwrap().unwrap() {
        Decision::Allow { .. } => None,
        Decision::Deny { policy } => Some(policy.unwrap().to_string()),
    }
}

fn run<'a>(command: &'a str, lock: Option<&'a LockName>) -> RunContext<'a> {
    RunContext { command, lock, hour: 12, ..RunContext::default() }
}

#[test]
fn production_secrets_and_images_come_only_with_a_production_lock() {
    let asked = |name: &str, lock: Option<&str>| {
        let secret: SecretName = name.parse().unwrap();
        let lock: Option<LockName> = lock.map(|lock| lock.parse().unwrap());
        let run = run("make deploy", lock.as_ref());
        let of =
            |action, resource| denied_by("prod-needs-its-lock.cedar", Role::Admin, action, resource, run);
        let answers = [
            of(Action::UseSecret, Resource::Secret { name: &secret, owners: &[] }),
            of(Action::UseImage, Resource::Image { name, owners: &[] }),
        ];
        assert_eq!(answers[0], answers[1]);
        answers[0].clone()
    };
    assert_eq!(asked("prod-db", None).as_deref(), Some("acme.prod-needs-its-lock"));
    assert_eq!(asked("prod-db", Some("staging")).as_deref(), Some("acme.prod-needs-its-lock"));
    assert_eq!(asked("prod-db", Some("prod-infra")), None);
    assert_eq!(asked("staging-db", None), None);
}

#[test]
fn developers_try_no_names_of_production_secrets() {
    let asked = |role, name: &str| {
        let (name, run) = (name.parse::<SecretName>().unwrap(), run("", None));
        let secret = Resource::Secret { name: &name, owners: &[] };
        denied_by("prod-needs-its-lock.cedar", role, Action::CreateSecret, secret, run)
    };
    assert_eq!(asked(Role::Developer, "prod-db").as_deref(), Some("acme.prod-names-are-kept"));
    assert_eq!(asked(Role::Developer, "staging-db"), None);
    assert_eq!(asked(Role::Operator, "prod-db"), None);
}

#[test]
fn developers_do_not_apply_by_mistake_but_a_shell_finds_a_way_around() {
    let asked = |role, command| {
        denied_by("no-terraform-apply.cedar", role, Action::Run, Resource::System, run(command, None))
    };
    let policy = Some("acme.developers-do-not-apply".to_owned());
    assert_eq!(asked(Role::Developer, "terraform apply"), policy);
    assert_eq!(asked(Role::Developer, "cd infra && terraform -chdir=a apply -auto-approve"), policy);
    assert_eq!(asked(Role::Developer, "terraform plan"), None);
    assert_eq!(asked(Role::Operator, "terraform apply"), None);
    // Why a command's text is no boundary.
    assert_eq!(asked(Role::Developer, r#"sh -c 'ter""raform apply'"#), None);
}

#[test]
fn production_is_reached_from_the_office_and_by_day() {
    let asked = |name: &str, address: Option<&str>, hour| {
        let lock: LockName = name.parse().unwrap();
        let address = address.map(|address| address.parse().unwrap());
        let run = RunContext { address, hour, ..run("make deploy", Some(&lock)) };
        let file = "prod-from-the-office-by-day.cedar";
        denied_by(file, Role::Developer, Action::UseLock, Resource::Lock(&lock), run)
    };
    let office = Some("198.51.100.7");
    assert_eq!(asked("prod-infra", office, 7), None);
    assert_eq!(asked("prod-infra", office, 16), None);
    assert_eq!(asked("prod-infra", office, 17).as_deref(), Some("acme.prod-by-day"));
    assert_eq!(asked("prod-infra", office, 6).as_deref(), Some("acme.prod-by-day"));
    assert_eq!(asked("prod-infra", Some("203.0.113.1"), 12).as_deref(), Some("acme.prod-from-the-office"));
    assert_eq!(asked("prod-infra", None, 12).as_deref(), Some("acme.prod-from-the-office"));
    assert_eq!(asked("staging", None, 3), None);
}
