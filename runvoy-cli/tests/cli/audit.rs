use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use crate::common::{Answer, Server, TestEnv};

const LINES: &str = concat!(
    r#"{"seq":1,"at":"2026-01-05T10:00:00.5Z","request_id":"x","user":"a@b.test","address":"192.0.2.7","kind":"allowed","#,
    r#""action":"run","resource":"system","policy":"builtin","detail":"make","hash":"00"}"#,
    "\n",
    r#"{"seq":2,"damaged":"{{","hash":"00"}"#,
    "\n"
);

#[test]
fn the_audit_log_is_a_table_or_json_lines() {
    let lines = || Answer::with(200, "application/x-ndjson", LINES);
    let server = Server::new([lines(), lines(), Answer::with(200, "application/x-ndjson", "")]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["audit", "--user", "a@b.test", "--action", "run", "--since", "2026-01-05T00:00:00Z"]);
    let cells: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let first = "1 2026-01-05 10:00:00Z a@b.test 192.0.2.7 allowed run system builtin make";
    assert_eq!(cells[1].join(" "), first);
    assert_eq!(cells[2].join(" "), "2 - - - DAMAGED - - - -");
    assert_eq!(env.run(&["audit", "-o", "json"]).stdout, LINES);
    let none = env.run(&["audit"]);
    assert_eq!((none.stdout.as_str(), none.stderr.as_str(), none.code), ("", "no audit records\n", 0));
    let asked = server.lines();
    assert_eq!(asked[0], "GET /api/v1/audit?user=a%40b.test&action=run&since=2026-01-05T00%3A00%3A00Z");
}

#[test]
fn a_broken_audit_log_is_told_by_place_and_exit_code() {
    let whole = r#"{"whole":true,"records":10,"hash":"ab","checkpoints":2,"unanchored":3,"kept":{"seq":7,"agrees":true}}"#;
    let broken = r#"{"whole":false,"records":4,"hash":"ab","checkpoints":0,"unanchored":4,
        "problem":{"seq":5,"kind":"changed","message":"record 5 was changed"}}"#;
    let head = r#"{"seq":7,"hash":"ab","at":"2026-01-05T10:00:00Z","mac":"cd"}"#;
    let server = Server::new([
        Answer::json(200, head),
        Answer::json(200, whole),
        Answer::json(200, broken),
        Answer::json(200, broken),
    ]);
    let env = TestEnv::new(&server.endpoint);
    let file = env.home().join("head.json");
    std::fs::write(&file, env.run(&["audit", "head"]).stdout).unwrap();
    let ran = env.run(&["audit", "verify", "--head", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    whole:                  yes
    records in order:       10
    checkpoints that agree: 2
    kept head:              record 7 is in the log, and all before it
    records not anchored:   3
    ");
    let ran = env.run(&["audit", "verify"]);
    assert_eq!(ran.code, 65);
    assert!(ran.stdout.contains("record 5\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("record 5 was changed"), "{}", ran.stderr);
    let ran = env.run(&["audit", "verify", "-o", "json"]);
    assert_eq!((ran.code, ran.stdout.trim()), (65, broken));
    let asked = server.lines();
    assert_eq!(asked[1], "GET /api/v1/audit/verify?seq=7&hash=ab");
    assert_eq!(env.run(&["audit", "verify", "--head", "/no/such/file"]).code, 2);
}

#[test]
fn records_are_shown_as_they_come() {
    for (args, wanted) in [
        (&["audit"] as &[&str], "2 - - - DAMAGED - - - -"),
        (&["audit", "-o", "json"], r#"{"seq":2,"damaged":"{{","hash":"00"}"#),
    ] {
        let more =
            Answer::with(200, "application/x-ndjson", LINES).then(Duration::ZERO, "{\"seq\":3,").hangs();
        let server = Server::new([more]);
        let env = TestEnv::new(&server.endpoint);
        let mut child = env.command(args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let shown = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(lines.map(|line| shown(line.unwrap())).any(|line| line == wanted), "{args:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn an_export_that_breaks_off_says_so() {
    let lines = |text: &str| Answer::with(200, "application/x-ndjson", text);
    let torn = format!("{LINES}{{\"seq\":3");
    for answer in [lines(LINES).cut(), lines(&torn)] {
        let server = Server::new([answer]);
        let ran = TestEnv::new(&server.endpoint).run(&["audit", "-o", "json"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (69, LINES));
        assert!(ran.stderr.contains("broke off"), "{}", ran.stderr);
    }
    let server =
        Server::new([Answer::json(200, "[]"), lines("no JSON\n"), Answer::error(403, "Forbidden", "no")]);
    let env = TestEnv::new(&server.endpoint);
    assert_eq!([69, 69, 77].map(|_| env.run(&["audit"]).code), [69, 69, 77]);
}

#[test]
fn the_head_is_one_json_object_and_a_check_may_take_its_time() {
    let head = r#"{"seq":7,"hash":"ab","at":"2026-01-05T10:00:00Z","mac":"cd"}"#;
    let left_out = concat!(
        "\n\n\n",
        r#"{"whole":true,"records":7,"hash":"ab","checkpoints":1,"unanchored":0,"unauthentic":1,"#,
        r#""unauthentic_checkpoints":[{"seq":3,"at":"2026-01-05T10:00:00Z","agrees":true}]}"#
    );
    let server = Server::new([
        Answer::json(200, head),
        Answer::json(200, head),
        Answer::json(200, left_out),
        Answer::json(200, left_out),
    ]);
    let env = TestEnv::new(&server.endpoint);
    assert_eq!(env.run(&["audit", "head", "-o", "json"]).stdout.trim(), head);
    insta::assert_snapshot!(env.run(&["audit", "head", "-o", "table"]).stdout, @r"
    record: 7
    hash:   ab
    at:     2026-01-05T10:00:00Z
    mac:    cd
    ");
    let ran = env.run(&["audit", "verify"]);
    insta::assert_snapshot!(ran.stdout, @r"
    whole:                     yes
    records in order:          7
    checkpoints that agree:    1
    checkpoints not authentic: 1: of record 3 at 2026-01-05T10:00:00Z (as the record is)
    records not anchored:      0
    ");
    assert!(
        ran.code == 0 && ran.stderr.starts_with("warning: checkpoints that this master key"),
        "{}",
        ran.stderr
    );
    assert_eq!(env.run(&["audit", "verify", "-o", "json"]).stdout.trim(), left_out.trim());
}
