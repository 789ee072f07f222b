//! The built-in authorizer: the roles' matrix, an organisation's own policies, errors, replacement.
#![cfg(feature = "cedar")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::id::{Email, ExecutionId, Role};
use runvoy_core::port::{
    Action, Authorizer, AuthzRequest, Decision, PolicyId, Principal, Resource, RunContext,
};

const ID: ExecutionId = ExecutionId::from_u128(1);

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn allow(policy: &str) -> Decision {
    Decision::Allow { policy: Some(PolicyId(policy.into())) }
}

fn deny(policy: &str) -> Decision {
    Decision::Deny { policy: Some(PolicyId(policy.into())) }
}

const NOT_ALLOWED: Decision = Decision::Deny { policy: None };

fn decide(authorizer: &CedarAuthorizer, request: &AuthzRequest<'_>) -> Decision {
    authorizer.authorize(request).now_or_never().unwrap().unwrap()
}

fn ask(authorizer: &CedarAuthorizer, role: Role, action: Action, owner: &str) -> Decision {
    let owners = [email(owner)];
    let (lock, secret) = ("infra".parse().unwrap(), "gh".parse().unwrap());
    let name = action.as_str();
    let resource = match name.rsplit('_').next().unwrap() {
        "execution" | "logs" if name != "list_executions" => Resource::Execution { id: ID, owners: &owners },
        "user" => Resource::User(&owners[0]),
        "lock" => Resource::Lock(&lock),
        "image" => Resource::Image { name: "alpine", owners: &owners },
        "secret" => Resource::Secret { name: &secret, owners: &owners },
        _ => Resource::System,
    };
    let user = email("me@acme.test");
    decide(
        authorizer,
        &AuthzRequest { principal: Principal { user: &user, role }, action, resource, run: None },
    )
}

fn run(authorizer: &CedarAuthorizer, run: Option<RunContext<'_>>) -> Decision {
    let user = email("me@acme.test");
    let principal = Principal { user: &user, role: Role::Developer };
    decide(authorizer, &AuthzRequest { principal, action: Action::Run, resource: Resource::System, run })
}

fn command(command: &str) -> RunContext<'_> {
    RunContext { command, hour: 12, ..RunContext::default() }
}

#[test]
fn the_roles_may_do_what_the_matrix_says() {
    let authorizer = CedarAuthorizer::builtin();
    // As the contract of the HTTP API has it, and `UseX` for what a run uses; the admin may do everything.
    let everybody = ["list_executions", "list_locks"];
    let developer =
        ["run", "use_lock", "use_image", "use_secret", "list_secrets", "create_secret", "upload_code"];
    let owner =
        ["read_execution", "read_logs", "kill_execution", "read_secret", "update_secret", "delete_secret"];
    let operator = ["reconcile", "list_users", "read_policies"];
    let images = ["list_images", "read_image", "register_image", "delete_image"];
    let all = Action::ALL.map(Action::as_str);
    let developer = [&everybody[..], &developer].concat();
    let operator = [&developer[..], &owner, &operator, &images].concat();
    let own = |actions: &[&'static str], more: &[&'static str]| [actions, more, &["rotate_user"]].concat();
    let table: [(Role, Vec<&str>, Vec<&str>); 4] = [
        (Role::Admin, all.to_vec(), all.to_vec()),
        (Role::Operator, own(&operator, &[]), operator),
        (Role::Developer, own(&developer, &owner), developer),
        (Role::Viewer, own(&everybody, &[]), everybody.to_vec()),
    ];
    for (role, own, others) in table {
        for action in Action::ALL {
            for (owner, allowed) in [("me@acme.test", &own), ("other@acme.test", &others)] {
                // Twice: the second answer comes from the cache.
                for _ in 0..2 {
                    let decision = ask(&authorizer, role, action, owner);
                    let expected = allowed.contains(&action.as_str());
                    assert_eq!(
                        matches!(decision, Decision::Allow { .. }),
                        expected,
                        "{role} {action} {owner}"
                    );
                }
            }
        }
    }
}

#[test]
fn without_policies_everything_is_denied() {
    let authorizer = CedarAuthorizer::with_only(&[]).unwrap();
    for action in Action::ALL {
        assert_eq!(ask(&authorizer, Role::Admin, action, "me@acme.test"), NOT_ALLOWED);
    }
}

#[test]
fn a_decision_names_its_policy() {
    let own = r#"
        @id("acme.b") permit (principal, action == Action::"run", resource);
        @id("acme.a") permit (principal, action == Action::"run", resource);
        forbid (principal, action == Action::"list_executions", resource);
    "#;
    let authorizer = CedarAuthorizer::with_policies(&[("acme.cedar", own)]).unwrap();
    let ask = |role, action| ask(&authorizer, role, action, "me@acme.test");
    assert_eq!(ask(Role::Developer, Action::Run), allow("acme.a"));
    assert_eq!(ask(Role::Viewer, Action::ReadLogs), NOT_ALLOWED);
    assert_eq!(ask(Role::Developer, Action::ReadLogs), allow("runvoy.developer-owns"));
    assert_eq!(ask(Role::Viewer, Action::ListExecutions), deny("acme.cedar:4"));
}

#[test]
fn forbid_beats_permit_and_sees_the_context() {
    let own = r#"
        @id("no-apply")
        forbid (principal, action == Action::"run", resource)
        when { context has command && context.command like "*apply*" }
        unless { context has address && context.address.isInRange(ip("10.0.0.0/8")) };
    "#;
    let authorizer = CedarAuthorizer::with_policies(&[("own.cedar", own)]).unwrap();
    let from = |address: &str| {
        Some(RunContext { address: Some(address.parse().unwrap()), ..command("terraform apply") })
    };
    assert_eq!(run(&authorizer, None), allow("runvoy.developer"));
    assert_eq!(run(&authorizer, Some(command("terraform plan"))), allow("runvoy.developer"));
    assert_eq!(run(&authorizer, Some(command("terraform apply"))), deny("no-apply"));
    assert_eq!(run(&authorizer, from("192.0.2.1")), deny("no-apply"));
    assert_eq!(run(&authorizer, from("10.1.2.3")), allow("runvoy.developer"));
    assert_eq!(run(&authorizer, from("::ffff:10.1.2.3")), allow("runvoy.developer"));
}

#[test]
fn a_forbid_that_fails_forbids_and_a_permit_that_fails_permits_nothing() {
    let overflow = r#"(principal, action == Action::"run", resource)
        when { context has hour && context.hour * 9223372036854775807 == 0 };"#;
    let forbid = format!(r#"@id("acme.overflow") forbid {overflow}"#);
    let authorizer = CedarAuthorizer::with_policies(&[("own.cedar", &forbid)]).unwrap();
    assert_eq!(run(&authorizer, None), allow("runvoy.developer"));
    assert_eq!(run(&authorizer, Some(command("true"))), deny("acme.overflow"));

    let permit = format!(r#"@id("acme.overflow") permit {overflow}"#);
    let authorizer = CedarAuthorizer::with_only(&[("own.cedar", &permit)]).unwrap();
    assert_eq!(run(&authorizer, Some(command("true"))), NOT_ALLOWED);
}

#[test]
fn a_bad_file_is_refused_by_place_and_the_old_set_stays() {
    let good = r#"@id("acme.stop") forbid (principal, action == Action::"run", resource);"#;
    let authorizer = CedarAuthorizer::with_policies(&[("good.cedar", good)]).unwrap();
    let long = format!("@id(\"{}\") permit (principal, action, resource);", "x".repeat(129));
    let twice = r#"// @id("a") permit (principal, action, resource);
        @id("a") permit (principal, action, resource);
        @id("a") permit (principal, action, resource);"#;
    let bad = [
        ("permit (principal, action, resource)\n  when { principal.emial like \"*\" };", 2, "emial"),
        ("// one\n\npermit (principal, action resource);", 3, "unexpected token `resource`"),
        ("permit (principal, action == Action::\"rum\", resource);", 1, "Action::\"rum\""),
        ("permit (principal in Role::\"root\", action, resource);", 1, "root"),
        ("\npermit (principal == ?principal, action, resource);", 2, "template"),
        ("permit (principal, action, resource)\nwhen { context.command == \"x\" };", 2, "command"),
        ("\n@id(\"runvoy.admin\")\npermit (principal, action, resource);", 2, "another policy"),
        (twice, 3, "another policy is called `a`"),
        ("forbid (principal, action == Action::\"run\", resource is Execution);", 1, "unable to find"),
        ("@id permit (principal, action, resource);", 1, "1 to 128 bytes"),
        (&long, 1, "1 to 128 bytes"),
        ("permit (principal, action, resource) when { principal.email < 1 };", 1, "Long"),
        ("permit (principal, action, resource)", 1, "unexpected end of input"),
    ];
    for (text, line, reason) in bad {
        let error = authorizer.replace(&[("good.cedar", good), ("bad.cedar", text)]).unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("bad.cedar", line), "{error}");
        assert!(error.reason.contains(reason), "{reason} is not in: {error}");
        assert!(CedarAuthorizer::with_policies(&[("bad.cedar", text)]).is_err());
    }
    assert_eq!(authorizer.generation(), 1);
    assert_eq!(run(&authorizer, None), deny("acme.stop"));
    assert_eq!(authorizer.replace(&[]), Ok(2));
    assert_eq!(run(&authorizer, None), allow("runvoy.developer"));
}

/// Allows a run, and forbids one whose command ends in the set's name.
fn set(name: &str) -> String {
    format!(
        "@id(\"{name}.permit\") permit (principal, action == Action::\"run\", resource);
         @id(\"{name}.forbid\") forbid (principal, action == Action::\"run\", resource)
         when {{ context has command && context.command like \"*-{name}\" }};"
    )
}

/// Asks until `done`; how often each set answered.
fn keep_asking(authorizer: &CedarAuthorizer, done: &AtomicBool) -> [u32; 2] {
    // Under `one` this is forbidden, under `two` allowed; a mixture would decide or name otherwise.
    let possible = [deny("one.forbid"), allow("two.permit")];
    let mut seen = [0_u32; 2];
    while !done.load(Ordering::Relaxed) {
        let before = authorizer.generation();
        let decision = run(authorizer, Some(command(&format!("{}-one", seen[0] % 7))));
        let after = authorizer.generation();
        let set = possible.iter().position(|possible| *possible == decision).unwrap();
        // Odd generations are `one`.
        assert!(before != after || (before % 2 == 1) == (set == 0), "{before}: {decision:?}");
        seen[set] += 1;
    }
    seen
}

#[test]
fn a_question_is_decided_by_one_generation() {
    let (one, two) = (set("one"), set("two"));
    let authorizer = CedarAuthorizer::with_only(&[("set", &one)]).unwrap();
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..2).map(|_| scope.spawn(|| keep_asking(&authorizer, &done))).collect();
        for round in 0..200 {
            let next = if round % 2 == 0 { &two } else { &one };
            authorizer.replace(&[("set", next)]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let seen = askers.into_iter().map(|asker| asker.join().unwrap());
        seen.fold([0, 0], |sum, seen| [sum[0] + seen[0], sum[1] + seen[1]])
    });
    assert!(asked.iter().all(|&times| times > 0), "{asked:?}");
}
