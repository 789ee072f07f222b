use crate::common::{Answer, Server, TestEnv};

fn create(env: &TestEnv, value: &str) -> crate::common::Ran {
    env.run_with_input(&["secrets", "create", "pin", "PIN", "--value", "-"], value)
}

#[test]
fn a_value_that_is_too_long_is_told_by_the_limit() {
    let server = Server::new([]);
    let env = TestEnv::new(&server.endpoint);
    let want = "error: the value has more than 8192 bytes, which is the limit\n";
    for value in ["x".repeat(8193), "x".repeat(8194) + "\n", "é".repeat(5000), "x".repeat(200_000)] {
        let ran = create(&env, &value);
        assert_eq!((ran.stderr.as_str(), ran.code), (want, 2), "{} bytes", value.len());
        std::fs::write(env.home().join("file"), &value).unwrap();
        let ran = env.run(&["secrets", "update", "pin", "--value-file", "file"]);
        assert_eq!((ran.stderr.as_str(), ran.code), (want, 2), "{} bytes", value.len());
    }
    assert!(server.lines().is_empty(), "{:?}", server.lines());
}

#[test]
fn a_value_of_the_greatest_length_is_sent_whole() {
    let server = Server::new([done()]);
    let ran = create(&TestEnv::new(&server.endpoint), &("x".repeat(8192) + "\r\n"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(server.asked()[0].body.contains(&format!("\"{}\"", "x".repeat(8192))));
}

#[test]
fn a_value_that_no_log_can_mask_is_told_when_it_is_kept() {
    let server = Server::new([done(), done(), done()]);
    let env = TestEnv::new(&server.endpoint);
    let warned = |ran: &crate::common::Ran| ran.stderr.matches("too short to be masked").count();
    assert_eq!(warned(&create(&env, "äöü")), 1);
    assert_eq!(warned(&create(&env, "abcd")), 0);
    std::fs::write(env.home().join("file"), "abc").unwrap();
    assert_eq!(warned(&env.run(&["secrets", "update", "pin", "--value-file", "file"])), 1);
    assert_eq!(server.left(), 0);
}

fn done() -> Answer {
    Answer::json(200, r#"{"name":"pin","key_name":"PIN","version":1,"message":"done"}"#)
}
