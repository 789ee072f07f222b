use crate::ID;
use crate::common::{Answer, Server, TestEnv};

#[test]
fn a_trace_is_the_log_and_what_it_was_about() {
    let answer = format!(
        r#"{{"logs":[{{"event_id":"a-0","timestamp":1767607201123,"level":"error","message":"request failed\n\u001b[2J status=503"}}],
        "related_resources":{{"executions":[{{"execution_id":"{ID}","created_by":"a@b.test","owned_by":[],"command":"make\ntest",
        "image_id":"","started_at":"2026-01-05T10:00:00Z","status":"RUNNING","exit_code":0,
        "created_by_request_id":"{ID}","modified_by_request_id":"{ID}","cloud":"LOCAL"}}],
        "users":[],"locks":[{{"name":"infra/prod"}}],"secrets":[{{"name":"db"}}],"images":[{{"image":"alpine"}}]}}}}"#
    );
    let nothing = r#"{"logs":[],"related_resources":{}}"#;
    let server = Server::new([
        Answer::json(200, &answer),
        Answer::json(200, &answer),
        Answer::json(200, nothing),
        Answer::json(200, r#"{"logs":null,"related_resources":{}}"#),
    ]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["trace", ID]);
    insta::assert_snapshot!(ran.stdout, @r"
    2026-01-05 10:00:01.123Z  error  request failed  [2J status=503
    ABOUT      WHAT
    execution  0f5ac3de  RUNNING  make\ntest
    lock       infra/prod
    secret     db
    image      alpine
    ");
    assert_eq!(env.run(&["trace", ID, "-o", "json"]).stdout.trim(), answer);
    let ran = env.run(&["trace", ID]);
    assert_eq!((ran.code, ran.stdout.as_str()), (66, ""));
    assert!(ran.stderr.starts_with("error: nothing is known of the request"), "{}", ran.stderr);
    assert!(env.run(&["trace", ID]).stderr.contains("keeps no log"));
    assert_eq!(server.lines()[0], format!("GET /api/v1/trace/{ID}"));
    assert_eq!(env.run(&["trace", "0f5ac3"]).code, 2);
}
