//! Why, from outside: one answer, with the phases that the agent measured.

use serde_json::Value;

use super::harness::{Server, stderr, stdout, until};

fn why(server: &Server, id: &str) -> Value {
    let output = server.run(&["why", id, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn detach(server: &Server, args: &[&str]) -> String {
    let output = server.run(&[&["run", "--detach"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

/// A command that goes on until the file is there.
fn until_there(server: &Server, file: &str) -> String {
    format!("while ! test -e {}; do sleep 0.02; done", server.dir.path().join(file).display())
}

fn put(server: &Server, file: &str) {
    std::fs::write(server.dir.path().join(file), "").unwrap();
}

#[test]
fn who_waits_and_then_was_slow_is_told_so() {
    let server = Server::start();
    let holder = detach(&server, &["--lock", "prod", "--", &until_there(&server, "go")]);
    let waiter = detach(&server, &["--lock", "prod", "--wait", "--", "true"]);
    let answer = why(&server, &waiter);
    assert_eq!((&answer["verdict"], &answer["waiting"]["position"]), (&"waits".into(), &1.into()));
    assert_eq!(answer["waiting"]["holder"]["execution_id"], holder.as_str());
    let text = stdout(&server.run(&["why", &waiter[..8]]));
    assert!(text.contains("it waits for the lock `prod`") && text.contains(&holder[..8]), "{text}");

    // A second in line is more than the command will take.
    until("a second has passed", || why(&server, &waiter)["phases"][0]["ms"].as_u64() > Some(1100));
    put(&server, "go");
    server.ended(&waiter);
    let answer = why(&server, &waiter);
    let phases: Vec<_> = answer["phases"].as_array().unwrap().iter().map(|p| p["phase"].clone()).collect();
    assert_eq!(phases, ["queued", "starting", "command"]);
    assert_eq!((&answer["verdict"], &answer["slow"]), (&"slow".into(), &"queued".into()), "{answer}");
    let text = stdout(&server.run(&["why", &waiter]));
    assert!(text.contains(", slow\n") && text.contains("hold `prod` for less"), "{text}");
}

#[test]
fn who_failed_is_told_what_to_do() {
    let server = Server::start();
    let id = detach(&server, &["--", "no-such-command"]);
    server.ended(&id);
    let answer = why(&server, &id);
    assert_eq!((&answer["verdict"], &answer["status_reason"]), (&"failed".into(), &"exited".into()));
    let text = stdout(&server.run(&["why", &id]));
    assert!(text.contains("exit code 127") && text.contains("PATH"), "{text}");
    assert_eq!(server.run(&["why", "0123456789ab"]).status.code(), Some(66));
}

#[test]
fn who_was_denied_when_their_turn_came_is_told_the_policy() {
    let server = Server::start_with_policies(&[]);
    let holder = detach(&server, &["--lock", "prod", "--", &until_there(&server, "go")]);
    let waiter = detach(&server, &["--lock", "prod", "--wait", "--", "echo", "late"]);
    let policy = r#"@id("acme.late") forbid (principal, action == Action::"run", resource)
                    when { context has command && context.command like "*late*" };"#;
    std::fs::write(server.policies().join("acme.cedar"), policy).unwrap();
    until("the policy is obeyed", || server.run(&["run", "echo", "late"]).status.code() == Some(77));
    put(&server, "go");
    assert_eq!(server.ended(&holder)["status"], "SUCCEEDED");
    server.ended(&waiter);
    let answer = why(&server, &waiter);
    assert_eq!((&answer["verdict"], &answer["policy"]), (&"denied".into(), &"acme.late".into()), "{answer}");
    let text = stdout(&server.run(&["why", &waiter]));
    assert!(
        text.contains("policy:") && text.contains("acme.late") && text.contains("ask an admin"),
        "{text}"
    );
}
