use crate::common::{Answer, Server, TestEnv};

#[test]
fn refusals_have_their_codes_and_one_sentence() {
    let cases = [
        (400, 65, "refused the request"),
        (401, 77, "does not accept the API key"),
        (403, 77, "not allowed"),
        (404, 66, "no such thing"),
        (409, 65, "refused the request"),
        (429, 75, "try again later"),
        (500, 69, "the server failed"),
        (503, 69, "the server failed"),
    ];
    for (status, code, words) in cases {
        let server = Server::new([Answer::error(status, "the error", "the details")]);
        let ran = TestEnv::new(&server.endpoint).run(&["whoami"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{status}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(words), "{}", ran.stderr);
        assert!(ran.stderr.contains("the error: the details"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn debug_tells_the_request_id() {
    let server = Server::new([Answer::error(400, "no", "")]);
    let ran = TestEnv::new(&server.endpoint).run(&["--debug", "whoami"]);
    assert!(ran.stderr.contains("request id: 0000000000000000000000000000abcd"), "{}", ran.stderr);
}

#[test]
fn what_is_no_runvoy_server_is_told_apart() {
    for answer in [Answer::with(200, "text/html", "<html>"), Answer::with(502, "text/html", "<html>")] {
        let server = Server::new([answer]);
        let ran = TestEnv::new(&server.endpoint).run(&["health"]);
        assert_eq!((ran.code, ran.stderr.lines().count()), (69, 1), "{}", ran.stderr);
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // Nothing listens on port 1.
    for command in [&["whoami"][..], &["run", "x"], &["logs", "abcdef"], &["wait", "abcdef"]] {
        let ran = TestEnv::new("http://127.0.0.1:1").run(command);
        assert_eq!(ran.code, 69, "{}", ran.stderr);
        let want = "error: the server at http://127.0.0.1:1 cannot be reached: connection refused; \
                    is it running, and is the address right?\n";
        assert_eq!(ran.stderr, want);
    }
}
