use std::process::Output;

use crate::harness::{Server, runvoy, signal, stderr, stdout, until};
use crate::people::Person;

fn forbid(id: &str, word: &str) -> String {
    format!(
        r#"@id("{id}") forbid (principal, action == Action::"run", resource)
           when {{ context has command && context.command like "*{word}*" }};"#
    )
}

/// What the refusal of a command says; `None` where it ran.
fn refused(server: &Server, word: &str) -> Option<String> {
    let output = server.run(&["run", "echo", word]);
    (output.status.code() != Some(0)).then(|| stderr(&output))
}

#[test]
fn a_policy_file_is_obeyed_when_it_changes_and_a_bad_one_changes_nothing() {
    let server = Server::start_with_policies(&[("own.cedar", &forbid("acme.one", "one"))]);
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));
    assert_eq!(refused(&server, "two"), None);

    std::fs::write(server.policies().join("bad.cedar"), "\nforbid (principal, action);").unwrap();
    until("the bad file is refused", || {
        let is_refusal = |line: &str| line.contains("bad.cedar:2: ") && line.contains("stay in force");
        server.log().lines().any(is_refusal)
    });
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));

    std::fs::write(server.policies().join("own.cedar"), forbid("acme.two", "two")).unwrap();
    std::fs::remove_file(server.policies().join("bad.cedar")).unwrap();
    until("the new policy is obeyed", || refused(&server, "two").is_some_and(|why| why.contains("acme.two")));
    assert_eq!(refused(&server, "one"), None);
}

/// The policies that the guide shows.
const EXAMPLES: [(&str, &str); 3] = [
    ("no-terraform-apply.cedar", include_str!("../../../examples/policies/no-terraform-apply.cedar")),
    (
        "prod-from-the-office-by-day.cedar",
        include_str!("../../../examples/policies/prod-from-the-office-by-day.cedar"),
    ),
    ("prod-needs-its-lock.cedar", include_str!("../../../examples/policies/prod-needs-its-lock.cedar")),
];

/// That a run was denied, and the explanation of its request shows the policy that the denial names; which one.
fn denied_and_explained(server: &Server, denied: &Output) -> String {
    let said = stderr(denied);
    assert_eq!(denied.status.code(), Some(77), "{said}");
    let policy = said.split_once("policy `").and_then(|(_, rest)| rest.split_once("` forbids ")).unwrap().0;
    let request = said.lines().find_map(|line| line.strip_prefix("request id: ")).unwrap();
    let explained = server.run(&["policies", "explain", request]);
    assert_eq!(explained.status.code(), Some(0), "{}", stderr(&explained));
    let text = stdout(&explained);
    assert!(text.contains("denied") && text.contains(&format!("@id(\"{policy}\")")), "{text}");
    policy.to_owned()
}

fn assert_no(asked: &Output, policy: &str) {
    assert_eq!(asked.status.code(), Some(77), "{}", stderr(asked));
    assert!(stdout(asked).starts_with(&format!("no: policy `{policy}` forbids ")), "{}", stdout(asked));
}

fn assert_yes(asked: &Output, policy: &str, on: &str) {
    let said = stdout(asked);
    assert_eq!(
        (asked.status.code(), said),
        (Some(0), format!("yes: policy `{policy}` allows {on}\n")),
        "{}",
        stderr(asked)
    );
}

#[test]
fn can_i_the_denial_and_its_explanation_name_the_same_policy() {
    let server = Server::start_with_policies(&EXAMPLES);
    let developer = Person::who_joined(&server, "dev@acme.test", "developer");
    let command = ["--command", "terraform apply"];
    assert_no(&developer.run(&[&["can-i", "run"], &command[..]].concat()), "acme.developers-do-not-apply");
    let denied = developer.run(&["--debug", "run", "--", "terraform apply"]);
    assert_eq!(denied_and_explained(&server, &denied), "acme.developers-do-not-apply");
    assert_yes(&server.run(&[&["can-i", "run"], &command[..]].concat()), "runvoy.admin", "`run` on `system`");
    let planned = developer.run(&["run", "--", "echo terraform plan"]);
    assert_eq!((planned.status.code(), stdout(&planned).as_str()), (Some(0), "terraform plan\n"));

    // Not from the office, at any hour; which of two policies says so depends on the hour.
    let held = ["can-i", "run", "--command", "true", "--lock", "prod-infra", "--hour", "12"];
    assert_no(&server.run(&held), "acme.prod-from-the-office");
    let denied = server.run(&["--debug", "run", "--lock", "prod-infra", "--", "true"]);
    let policy = denied_and_explained(&server, &denied);
    assert!(["acme.prod-from-the-office", "acme.prod-by-day"].contains(&policy.as_str()), "{policy}");
    let asked = server.run(&["can-i", "use_lock", "lock:staging"]);
    assert_yes(&asked, "runvoy.admin", "`use_lock` on `lock:staging`");
    let listed = stdout(&server.run(&["policies", "list"]));
    assert!(listed.contains("no-terraform-apply.cedar:3") && listed.contains("built-in"), "{listed}");
}

#[test]
fn a_secret_of_production_comes_only_with_a_lock_of_production() {
    let server = Server::start_with_policies(&EXAMPLES);
    let developer = Person::who_joined(&server, "dev@acme.test", "developer");
    let ask = |lock: &[&str]| developer.run(&[&["can-i", "use_secret", "secret:prod-db"], lock].concat());
    assert_no(&ask(&[]), "acme.prod-needs-its-lock");
    assert_no(&ask(&["--lock", "staging"]), "acme.prod-needs-its-lock");
    assert_yes(&ask(&["--lock", "prod-infra"]), "runvoy.developer", "`use_secret` on `secret:prod-db`");
}

#[test]
fn a_server_without_policies_says_so_in_the_audit_log() {
    let server = Server::start();
    // Recorded beside the first requests.
    let recorded = || stdout(&server.run(&["audit", "--action", "load_policies"]));
    until("the start is recorded", || recorded().contains("no files"));
}

#[test]
fn a_hangup_ends_no_server_that_has_policies() {
    let mut server = Server::start_with_policies(&[("own.cedar", &forbid("acme.one", "one"))]);
    signal(server.pid(), "HUP");
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn no_server_starts_with_a_bad_policy() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bad.cedar"), "// one\nforbid (principal, action);").unwrap();
    let output = runvoy(home.path())
        .args(["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--policies", "."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("bad.cedar:2: "), "{}", stderr(&output));
}
