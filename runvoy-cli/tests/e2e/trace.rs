//! What a real server says of a request.

use serde_json::Value;

use crate::harness::{KEY, Server, stderr, stdout};

fn trace(server: &Server, request: &str) -> Value {
    let output = server.run(&["trace", request, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(trace: &Value) -> Vec<String> {
    let lines = trace["logs"].as_array().unwrap().iter();
    lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_request_is_traced_to_its_lines_and_to_what_it_started_also_after_a_crash() {
    let mut server = Server::start();
    let id = server.detach("echo the-output");
    let record = server.ended(&id);
    let request = record["created_by_request_id"].as_str().unwrap();
    for _ in 0..2 {
        let trace = trace(&server, request);
        let said = lines(&trace);
        assert!(
            said.iter().any(|line| line.starts_with("request answered ") && line.contains(" status=202")),
            "{said:?}"
        );
        assert!(said[0].contains("path=/api/v1/run") && said[0].contains("user=admin@localhost"), "{said:?}");
        let related = &trace["related_resources"]["executions"];
        assert_eq!(
            (related.as_array().unwrap().len(), &related[0]["execution_id"]),
            (1, &Value::from(id.as_str()))
        );
        server.crash();
        server.restart();
    }
    let shown = stdout(&server.run(&["trace", request]));
    assert!(shown.contains("request answered") && shown.contains(&id[..8]), "{shown}");
    let unknown = server.run(&["trace", "0123456789abcdef0123456789abcdef"]);
    assert_eq!((unknown.status.code(), stdout(&unknown).as_str()), (Some(66), ""));
}

#[test]
fn the_servers_log_has_no_key_no_variable_and_no_output() {
    let server = Server::start();
    let command = "echo the-out\"\"put $SAID";
    let ran = server.run(&["run", "-e", "SAID=a-variables-value", "--lock", "infra", "--", command]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let denied =
        server.client(&["list"]).env("RUNVOY_API_KEY", "an-unknown-key-of-somebody").output().unwrap();
    assert_eq!(denied.status.code(), Some(77));
    let record = server.run(&["list", "-o", "json"]);
    let record: Value = serde_json::from_slice(&record.stdout).unwrap();
    trace(&server, record[0]["created_by_request_id"].as_str().unwrap());
    let log = std::fs::read_to_string(server.data_dir().join("server.jsonl")).unwrap();
    assert!(log.contains("/api/v1/run"), "{log}");
    for secret in [KEY, "an-unknown-key", "a-variables-value", "the-output", "the-out"] {
        assert!(!log.contains(secret) && !server.log().contains(secret), "{secret}");
    }
}
