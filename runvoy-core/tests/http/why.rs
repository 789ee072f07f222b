//! One answer to why an execution is where it is.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::id::{ExecutionId, Role};
use runvoy_task::EndReason;
use serde_json::{Value, json};

use super::server::{Server, key};

/// Asks as the developer, and lets the clock go on a little, so that the order of asking shows.
async fn run(server: &Server, command: &str, lock: Option<&str>) -> String {
    let mut body = json!({ "command": command, "timeout": 100 });
    if let Some(lock) = lock {
        body["lock"] = lock.into();
        body["on_lock_held"] = "queue".into();
    }
    let answer = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/run", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    pass(server, 1);
    answer.json()["execution_id"].as_str().unwrap().to_owned()
}

fn pass(server: &Server, seconds: u64) {
    server.clock.advance(Duration::from_secs(seconds));
}

/// Whatever was started claims its command.
async fn claim(server: &Server) {
    for task in server.manual.pending() {
        server.manual.claim(task.task);
    }
    server.settle().await;
}

async fn end(server: &Server, id: &str, code: i32, reason: EndReason) {
    let id: ExecutionId = id.parse().unwrap();
    assert!(server.manual.end(id, code, reason));
    server.settle().await;
}

/// A run that succeeds after so many seconds.
async fn ran(server: &Server, command: &str, lock: Option<&str>, seconds: u64) -> String {
    let id = run(server, command, lock).await;
    claim(server).await;
    pass(server, seconds);
    end(server, &id, 0, EndReason::Exited).await;
    id
}

async fn why(server: &Server, id: &str) -> Value {
    let answer = server.get(&format!("/executions/{}/why", &id[..8])).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["execution_id"], id);
    answer
}

fn said<'a>(why: &'a Value, field: &str) -> &'a str {
    why[field].as_str().unwrap_or_else(|| panic!("no {field}: {why}"))
}

#[tokio::test]
async fn who_waits_is_told_for_whom_since_when_and_how_long_such_runs_took() {
    let server = Server::manual().await;
    for seconds in [30, 10, 20] {
        ran(&server, "plan", Some("prod"), seconds).await;
    }
    ran(&server, "plan", Some("other"), 500).await;
    let holder = run(&server, "apply", Some("prod")).await;
    claim(&server).await;
    run(&server, "apply", Some("prod")).await;
    let last = run(&server, "apply", Some("prod")).await;
    pass(&server, 60);
    let answer = why(&server, &last).await;
    assert_eq!(answer["verdict"], "waits");
    let waiting = &answer["waiting"];
    assert_eq!((&waiting["lock"], &waiting["position"]), (&"prod".into(), &2.into()));
    assert_eq!(waiting["holder"]["execution_id"], holder.as_str());
    assert!(waiting["holder"]["since"].is_string() && waiting["since"].is_string());
    assert_eq!(answer["usual"], json!({ "median_ms": 20_000, "runs": 3 }));
    assert_eq!(answer["phases"], json!([{ "phase": "queued", "ms": 61_000 }]));
    let summary = said(&answer, "summary");
    for words in ["`prod` for 1m01s", "position 2", &holder[..8], "developer@acme.test", "last 3", "20.0s"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(said(&answer, "remedy").contains("runvoy locks show prod"), "{answer}");

    // Nothing succeeded under a lock of its own.
    run(&server, "apply", Some("new")).await;
    let first = run(&server, "apply", Some("new")).await;
    assert!(said(&why(&server, &first).await, "summary").ends_with("none has succeeded under it yet"));
}

#[tokio::test]
async fn who_was_denied_while_waiting_is_told_by_which_policy() {
    let cedar = Arc::new(CedarAuthorizer::builtin());
    let authorizer = Arc::clone(&cedar);
    let server = Server::assemble(true, |ports| ports.authorizer = authorizer).await;
    let holder = run(&server, "true", Some("prod")).await;
    let waiter = run(&server, "terraform apply", Some("prod")).await;
    let policy = r#"@id("acme.no-terraform") forbid (principal, action == Action::"run", resource)
                    when { context has command && context.command like "*terraform*" };"#;
    cedar.replace(&[("acme.cedar", policy)]).unwrap();
    claim(&server).await;
    end(&server, &holder, 0, EndReason::Exited).await;
    let answer = why(&server, &waiter).await;
    assert_eq!((&answer["verdict"], &answer["policy"]), (&"denied".into(), &"acme.no-terraform".into()));
    assert!(said(&answer, "summary").contains("its turn came, but policy `acme.no-terraform` forbids `run`"));
    assert!(said(&answer, "remedy").contains("ask an admin"));
    assert_eq!(why(&server, &holder).await.get("policy"), None);
}

#[tokio::test]
async fn who_failed_is_told_the_reason_a_sentence_and_a_remedy() {
    let server = Server::manual().await;
    let cases = [
        (7, EndReason::Exited, "exited", "the command ended with exit code 7", "runvoy logs --tail 50"),
        (127, EndReason::Exited, "exited", "the shell did not find what was to run", "PATH"),
        (143, EndReason::TimedOut, "timed_out", "longer than its timeout of 100 s", "--timeout"),
        (137, EndReason::LogLimit, "log_limit", "more log than is kept", "to a file"),
        (1, EndReason::WorkspaceFailed, "workspace_failed", "could not be prepared", "rights of the token"),
    ];
    for (code, end_reason, reason, sentence, remedy) in cases {
        let id = run(&server, "make", None).await;
        claim(&server).await;
        end(&server, &id, code, end_reason).await;
        let answer = why(&server, &id).await;
        assert_eq!((&answer["verdict"], &answer["status_reason"]), (&"failed".into(), &reason.into()));
        assert!(said(&answer, "summary").contains(sentence), "{answer}");
        assert!(said(&answer, "remedy").contains(remedy), "{answer}");
    }
    let killed = run(&server, "make", None).await;
    server.ask(Method::DELETE, &format!("/executions/{killed}"), "").await;
    let answer = why(&server, &killed).await;
    assert_eq!(answer["verdict"], "stopped");
    assert_eq!(answer["summary"], "admin@acme.test stopped it");
}

#[tokio::test]
async fn what_was_slow_is_told_by_its_phases() {
    let server = Server::manual().await;
    let holder = run(&server, "true", Some("prod")).await;
    claim(&server).await;
    let waiter = run(&server, "quick", Some("prod")).await;
    pass(&server, 60);
    end(&server, &holder, 0, EndReason::Exited).await;
    pass(&server, 2);
    claim(&server).await;
    pass(&server, 1);
    end(&server, &waiter, 0, EndReason::Exited).await;
    let answer = why(&server, &waiter).await;
    assert_eq!((&answer["verdict"], &answer["slow"]), (&"slow".into(), &"queued".into()));
    let phases = json!([
        { "phase": "queued", "ms": 61_000 }, { "phase": "starting", "ms": 2000 }, { "phase": "command", "ms": 1000 },
    ]);
    assert_eq!(answer["phases"], phases);
    assert!(said(&answer, "summary").contains("waited 1m01s for the lock `prod`"), "{answer}");
    assert!(said(&answer, "remedy").contains("hold `prod` for less"), "{answer}");

    for _ in 0..3 {
        ran(&server, "build", None, 10).await;
    }
    let slow = ran(&server, "build", None, 25).await;
    let answer = why(&server, &slow).await;
    assert_eq!((&answer["verdict"], &answer["slow"]), (&"slow".into(), &"command".into()));
    assert!(said(&answer, "summary").contains("its command took 25.0s; the last 3 of it"), "{answer}");
}

#[tokio::test]
async fn what_is_as_it_should_be_is_said_to_be_so() {
    let server = Server::manual().await;
    let id = run(&server, "make", None).await;
    let answer = why(&server, &id).await;
    assert_eq!((&answer["verdict"], &answer["remedy"]), (&"starts".into(), &Value::Null));
    pass(&server, 120);
    let stuck = why(&server, &id).await;
    assert!(said(&stuck, "remedy").contains("given up after 15m00s"), "{stuck}");
    claim(&server).await;
    pass(&server, 300);
    let answer = why(&server, &id).await;
    assert_eq!((&answer["verdict"], &answer["remedy"]), (&"runs".into(), &Value::Null));
    assert_eq!(answer["summary"], "its command runs, for 5m00s");
    end(&server, &id, 0, EndReason::Exited).await;
    let answer = why(&server, &id).await;
    assert_eq!((&answer["verdict"], &answer["remedy"]), (&"succeeded".into(), &Value::Null));
    let missing = server.get("/executions/0123456789abcdef0123456789abcdef/why").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}
