use crate::ID;
use crate::common::{Answer, Server, TestEnv};

fn answer(allowed: bool, policy: &str) -> Answer {
    let body =
        format!(r#"{{"allowed":{allowed},"policy":{policy},"action":"use_lock","resource":"lock:prod"}}"#);
    Answer::json(200, &body)
}

#[test]
fn the_exit_code_says_whether_and_the_sentence_why() {
    let cases = [
        (answer(true, r#""acme.a""#), 0, "yes: policy `acme.a` allows `use_lock` on `lock:prod`\n"),
        (answer(true, "null"), 0, "yes: `use_lock` on `lock:prod` is allowed\n"),
        (answer(false, r#""acme.f""#), 77, "no: policy `acme.f` forbids `use_lock` on `lock:prod`\n"),
        (answer(false, "null"), 77, "no: no policy allows you to `use_lock` on `lock:prod`\n"),
    ];
    for (answer, code, said) in cases {
        let server = Server::new([answer]);
        let ran = TestEnv::new(&server.endpoint).run(&["can-i", "use_lock", "lock:prod"]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (code, said, ""));
    }
}

#[test]
fn what_is_to_be_run_is_asked_along() {
    let id = format!(r#"{{"action":"kill_execution","resource":"execution:{ID}"}}"#);
    let server = Server::new([
        answer(true, "null"),
        answer(false, "null"),
        crate::record("RUNNING", "null", "null"),
        answer(true, "null"),
    ]);
    let env = TestEnv::new(&server.endpoint);
    let run = [
        "can-i",
        "run",
        "--command",
        "make",
        "-i",
        "alpine",
        "--lock",
        "prod",
        "--secret",
        "a",
        "--secret",
        "b",
    ];
    let more = ["-g", "https://git.test/a", "--address", "192.0.2.7", "--hour", "7"];
    assert_eq!(env.run(&[&run[..], &more].concat()).code, 0);
    let json = env.run(&["can-i", "list_users", "-o", "json"]);
    assert_eq!((json.code, json.stdout.starts_with("{\"allowed\":false")), (77, true), "{}", json.stdout);
    assert_eq!(env.run(&["can-i", "kill_execution", &format!("execution:{}", &ID[..8])]).code, 0);
    let asked = server.asked();
    let whole = r#"{"action":"run","command":"make","image":"alpine","lock":"prod","secrets":["a","b"],"git_repo":"https://git.test/a","address":"192.0.2.7","hour":7}"#;
    assert_eq!((asked[0].line.as_str(), asked[0].body.as_str()), ("POST /api/v1/authz/check", whole));
    assert_eq!(asked[1].body, r#"{"action":"list_users"}"#);
    assert_eq!(asked[3].body, id);
    let unknown = env.run(&["can-i", "fly"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("kill_execution"), "{}", unknown.stderr);
}

const POLICIES: &str = r#"{"generation":2,"policies":[
    {"id":"runvoy.admin","file":null,"line":1,"effect":"permit","text":"permit (…);"},
    {"id":"acme.f","file":"own.cedar","line":7,"effect":"forbid","text":"forbid (\n  principal, action, resource\n);"}]}"#;

#[test]
fn policies_are_listed_with_where_they_are_from() {
    let server = Server::new([Answer::json(200, POLICIES), Answer::json(200, POLICIES)]);
    let env = TestEnv::new(&server.endpoint);
    insta::assert_snapshot!(env.run(&["policies", "list"]).stdout, @r"
    EFFECT  POLICY        FROM
    permit  runvoy.admin  built-in
    forbid  acme.f        own.cedar:7
    ");
    assert_eq!(env.run(&["policies", "list", "-o", "json"]).stdout.trim(), POLICIES);
}

#[test]
fn a_request_is_explained_with_the_text_of_what_decided() {
    let record = |seq: u32, kind: &str, policy: &str| {
        format!(
            r#"{{"seq":{seq},"at":"2026-01-05T10:00:00Z","request_id":"{ID}","user":"a@b.test","address":null,"kind":"{kind}","action":"run","resource":"system","policy":{policy},"detail":"make","hash":"00"}}"#
        ) + "\n"
    };
    let records = record(1, "denied", r#""acme.f""#)
        + &record(2, "denied", r#""acme.gone""#)
        + &record(3, "denied", "null")
        + "{\"seq\":4,\"damaged\":\"{\",\"hash\":\"00\"}\n";
    let lines = |text: &str| Answer::with(200, "application/x-ndjson", text);
    let server = Server::new([
        lines(&records),
        Answer::json(200, POLICIES),
        lines(&records),
        Answer::error(403, "Forbidden", ""),
        lines(""),
    ]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["policies", "explain", ID]);
    insta::assert_snapshot!(ran.stdout, @r#"
    when:     2026-01-05 10:00:00Z
    who:      a@b.test
    what:     run on system
    decision: denied
    policy:   acme.f (own.cedar:7)
    detail:   make
        forbid (
          principal, action, resource
        );

    when:     2026-01-05 10:00:00Z
    who:      a@b.test
    what:     run on system
    decision: denied
    policy:   acme.gone, which is not loaded now
    detail:   make

    when:     2026-01-05 10:00:00Z
    who:      a@b.test
    what:     run on system
    decision: denied
    policy:   none: no policy allows it
    detail:   make

    record 4 is damaged: `runvoy audit verify` says more
    "#);
    let ran = env.run(&["policies", "explain", ID, "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (json["records"][1]["seq"].as_u64(), json["policies"].as_array().unwrap().len()),
        (Some(2), 0)
    );
    let ran = env.run(&["policies", "explain", ID]);
    assert_eq!((ran.code, ran.stdout.as_str()), (66, ""), "{}", ran.stderr);
    assert_eq!(server.lines()[0], format!("GET /api/v1/audit?request={ID}"));
    assert_eq!(env.run(&["policies", "explain", "x"]).code, 2);
}

#[cfg(all(feature = "local", target_os = "linux"))]
#[test]
fn a_directory_is_checked_without_a_server() {
    let env = TestEnv::empty();
    let dir = env.home().join("policies");
    let ran = env.run(&["policies", "check", "policies"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(env.run(&["policies", "check", "policies"]).code, 0);
    let good = "// why\n@id(\"acme.a\") forbid (principal, action, resource is Lock)\nwhen { resource.name == \"\u{440}rod\" };\n\
                permit (principal, action == Action::\"run\", resource);\n";
    std::fs::write(dir.join("own.cedar"), good).unwrap();
    std::fs::write(dir.join("README.md"), "not a policy").unwrap();
    let ran = env.run(&["policies", "check", "policies"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    EFFECT  POLICY       FROM
    forbid  acme.a       own.cedar:2
    permit  own.cedar:4  own.cedar:4
    ");
    assert!(ran.stderr.starts_with("warning: policies/own.cedar:3: "), "{}", ran.stderr);
    let json = env.run(&["policies", "check", "policies", "-o", "json"]).stdout;
    assert!(json.starts_with(r#"[{"id":"acme.a","file":"own.cedar","line":2,"effect":"forbid""#), "{json}");
    std::fs::write(dir.join("bad.cedar"), "\n\nforbid (principal, action);\n").unwrap();
    let ran = env.run(&["policies", "check", "policies"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (65, ""));
    assert!(ran.stderr.starts_with("error: policies/bad.cedar:3: "), "{}", ran.stderr);
}
