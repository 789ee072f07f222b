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
    let whole = r#"{"whole":true,"records":7,"hash":"ab","checkpoints":2,"unanchored":3}"#;
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
    let said: Vec<_> = ran.stdout.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(said, ["yes", "7", "2", "3"]);
    let ran = env.run(&["audit", "verify"]);
    assert_eq!(ran.code, 65);
    assert!(ran.stdout.contains("broken at:        5"), "{}", ran.stdout);
    assert!(ran.stderr.contains("record 5 was changed"), "{}", ran.stderr);
    let ran = env.run(&["audit", "verify", "-o", "json"]);
    assert_eq!((ran.code, ran.stdout.trim()), (65, broken));
    let asked = server.lines();
    assert_eq!(asked[1], "GET /api/v1/audit/verify?seq=7&hash=ab");
    assert_eq!(env.run(&["audit", "verify", "--head", "/no/such/file"]).code, 2);
}
