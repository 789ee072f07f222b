use std::time::Duration;

use crate::common::{Answer, Server, TestEnv};
use crate::{ID, block, end, record};

#[test]
fn a_record_is_shown_or_passed_on_as_it_is() {
    let server = Server::new([record("RUNNING", "null", "null"), record("RUNNING", "null", "null")]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["status", "0f5ac3"]);
    insta::assert_snapshot!(ran.stdout, @r"
    id:      0f5ac3de00000000000000000000abcd
    status:  RUNNING
    command: make test
    user:    a@b
    created: 2026-01-05 10:00:00Z
    started: 2026-01-05 10:00:01Z
    timeout: 1h00m
    ");
    let ran = env.run(&["status", "0f5ac3", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["execution_id"], ID);
    assert_eq!(server.lines()[0], "GET /api/v1/executions/0f5ac3");
}

#[test]
fn a_list_is_a_table() {
    let list = format!(
        r#"[{{"execution_id":"{ID}","created_by":"dev@acme.test","owned_by":[],"command":"make\ntest","image_id":"",
        "started_at":"2026-01-05T10:00:00Z","completed_at":"2026-01-05T10:01:09Z","status":"FAILED","status_reason":"exited",
        "exit_code":2,"duration_seconds":69,"created_by_request_id":"{ID}","modified_by_request_id":"{ID}","cloud":"LOCAL"}}]"#
    );
    let server = Server::new([Answer::json(200, &list), Answer::json(200, &list), Answer::json(200, "[]")]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["list", "--status", "failed,STOPPED", "--user", "dev@acme.test", "--limit", "3"]);
    insta::assert_snapshot!(ran.stdout, @r"
    ID        STATUS  EXIT  STARTED               TOOK   USER           COMMAND
    0f5ac3de  FAILED  2     2026-01-05 10:00:00Z  1m09s  dev@acme.test  make\ntest
    ");
    assert_eq!(env.run(&["list", "--all", "-o", "json"]).stdout.trim(), list);
    let ran = env.run(&["list"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("", "no executions\n", 0));
    let asked = server.lines();
    assert_eq!(asked[0], "GET /api/v1/executions?limit=3&status=FAILED%2CSTOPPED&user=dev%40acme.test");
    assert_eq!(asked[1], "GET /api/v1/executions?limit=0");
}

#[test]
fn a_list_shows_a_code_only_of_what_ran() {
    let row = |reason: &str, code: u8| {
        format!(
            r#"{{"execution_id":"{ID}","created_by":"a@b","owned_by":[],"command":"x","image_id":"",
            "started_at":"2026-01-05T10:00:00Z","completed_at":"2026-01-05T10:00:01Z","status":"FAILED",
            "status_reason":"{reason}","exit_code":{code},"created_by_request_id":"{ID}",
            "modified_by_request_id":"{ID}","cloud":"LOCAL"}}"#
        )
    };
    for (reason, code, shown) in [
        ("workspace_failed", 1, "-"),
        ("start_failed", 1, "-"),
        ("image_unavailable", 1, "-"),
        ("lost", 1, "-"),
        ("exited", 1, "1"),
        ("timed_out", 143, "143"),
        ("log_limit", 143, "143"),
        ("oom_killed", 137, "137"),
    ] {
        let server = Server::new([Answer::json(200, &format!("[{}]", row(reason, code)))]);
        let ran = TestEnv::new(&server.endpoint).run(&["list", "--limit", "1"]);
        let cells: Vec<_> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[2], shown, "{reason}: {}", ran.stdout);
        assert_eq!(ran.stderr, "", "only a terminal is told that there may be more");
    }
}

#[test]
fn a_log_of_the_past_is_printed_byte_for_byte() {
    let log = block("stdout", 1, r#""text":"a\n""#)
        + &block("stderr", 2, r#""text":"b\n""#)
        + &end("SUCCEEDED", "exited", "0");
    let server = Server::new([
        record("SUCCEEDED", "\"exited\"", "0"),
        Answer::events(&log),
        record("SUCCEEDED", "\"exited\"", "0"),
        Answer::events(&log),
    ]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["logs", ID, "--tail", "2"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("a\n", "b\n", 0));
    let ran = env.run(&["logs", ID, "--timestamps"]);
    assert_eq!(ran.stdout, "2026-01-05T10:00:01.123Z a\n");
}

#[test]
fn what_is_older_than_asked_for_is_left_out() {
    let older = block("stdout", 1, r#""text":"old\n""#).replace("1767607201123", "1767607201122");
    let log = older + &block("stdout", 2, r#""text":"new\n""#) + &end("SUCCEEDED", "exited", "0");
    for (since, out) in [
        ("2026-01-05T10:00:01.122Z", "old\nnew\n"),
        ("2026-01-05T10:00:01.123Z", "new\n"),
        ("2026-01-05T10:00:01.124Z", ""),
        ("1s", ""),
        ("36500d", "old\nnew\n"),
    ] {
        let server = Server::new([record("SUCCEEDED", "\"exited\"", "0"), Answer::events(&log)]);
        let ran = TestEnv::new(&server.endpoint).run(&["logs", ID, "--since", since]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), (out, "", 0), "{since}");
    }
    let ran = TestEnv::empty().run(&["logs", ID, "--since", "yesterday"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_live_log_is_printed_so_far() {
    let event = |n: u32| {
        format!(r#"{{"event_id":"{ID}-{n:06}","timestamp":{n},"stream":"stdout","message":"line {n}"}}"#)
    };
    let page = |events: &str, next| {
        Answer::json(200, &format!(r#"{{"events":[{events}],"next":"{next}","complete":false}}"#))
    };
    let page_of = |numbers: std::ops::Range<u32>| {
        let next = numbers.end;
        page(&numbers.map(event).collect::<Vec<_>>().join(","), next)
    };
    // The end is after line 4; line 5 is written meanwhile: a flood must not keep the command from ending.
    let script =
        || [record("RUNNING", "null", "null"), page_of(0..3), page("", 5), page_of(5..6), page_of(3..7)];
    let server = Server::new(script().into_iter().chain(script()).chain(script()));
    let env = TestEnv::new(&server.endpoint);
    assert_eq!(env.run(&["logs", ID]).stdout, "line 0\nline 1\nline 2\nline 3\nline 4\n");
    let json = env.run(&["logs", ID, "-o", "json"]).stdout;
    let events: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(events.len(), 5);
    let since = env.run(&["logs", ID, "--since", "1970-01-01T00:00:00.003Z"]);
    assert_eq!(since.stdout, "line 3\nline 4\n");
    for (asked, query) in server.lines()[1..].iter().zip(["limit=1000", "tail=0", "after=5", "after=3"]) {
        assert!(asked.ends_with(query), "{asked} {query}");
    }
}

#[test]
fn a_followed_log_as_json_is_one_event_a_line() {
    let event = format!(r#"{{"event_id":"{ID}-000000","timestamp":1,"stream":"stdout","message":"x"}}"#);
    let log = format!("event: log\nid: 1\ndata: {event}\n\n{}", end("SUCCEEDED", "exited", "0"));
    let server = Server::new([record("RUNNING", "null", "null"), Answer::events(&log)]);
    let ran = TestEnv::new(&server.endpoint).run(&["logs", "-f", ID, "-o", "json"]);
    assert_eq!(ran.stdout, format!("{event}\n"));
}

#[test]
fn a_kill_waits_until_it_is_stopped() {
    let killed = Answer::json(200, &format!(r#"{{"execution_id":"{ID}","message":"stopping"}}"#));
    let server =
        Server::new([killed, record("TERMINATING", "null", "null"), record("STOPPED", "\"killed\"", "143")]);
    let ran = TestEnv::new(&server.endpoint).run(&["kill", ID, "--grace", "5s"]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("0f5ac3de is stopped: STOPPED\n", 0));
    assert_eq!(server.asked()[0].body, r#"{"grace":5}"#);

    let told = || Answer::with(204, "text/plain", "");
    let over = || record("SUCCEEDED", "\"exited\"", "0");
    let server = Server::new([told(), over(), over()]);
    let ran = TestEnv::new(&server.endpoint).run(&["kill", ID]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("0f5ac3de was over already: SUCCEEDED\n", 0));

    let stopped = record("STOPPED", "\"killed\"", "143");
    let server = Server::new([told(), record("TERMINATING", "null", "null"), stopped]);
    let ran = TestEnv::new(&server.endpoint).run(&["kill", ID]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("0f5ac3de is stopped: STOPPED\n", 0));
}

#[test]
fn a_kill_that_does_not_wait_asks_once() {
    let killed = Answer::json(200, &format!(r#"{{"execution_id":"{ID}","message":"stopping"}}"#));
    let cases = [
        (killed, "0f5ac3de is being stopped\n"),
        (Answer::with(204, "text/plain", ""), "0f5ac3de is over or being stopped already\n"),
    ];
    for (answer, said) in cases {
        let server = Server::new([answer]);
        let ran = TestEnv::new(&server.endpoint).run(&["kill", "--no-wait", ID]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("", said, 0));
        assert_eq!(server.lines(), [format!("DELETE /api/v1/executions/{ID}")]);
    }
}

#[test]
fn wait_exits_as_the_command_did() {
    let server = Server::new([
        record("RUNNING", "null", "null"),
        Answer::error(503, "draining", ""),
        record("FAILED", "\"exited\"", "9"),
    ]);
    let ran = TestEnv::new(&server.endpoint).run(&["wait", ID]);
    assert_eq!((ran.stderr.as_str(), ran.code), ("", 9));
    assert!(server.lines()[0].ends_with("?wait=20"));

    let server = Server::new((0..9).map(|_| record("RUNNING", "null", "null")));
    let begun = std::time::Instant::now();
    let ran = TestEnv::new(&server.endpoint).run(&["wait", ID, "--timeout", "1s"]);
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(5));
}
