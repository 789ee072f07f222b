//! Wrong input: one clear sentence, the right exit code, nothing started.

use crate::harness::{Server, stderr, stdout};

#[test]
fn wrong_input_has_its_exit_code_and_one_sentence() {
    let server = Server::start();
    let unknown = "0123456789abcdef0123456789abcdef";
    let long = "x".repeat(70_000);
    let cases: Vec<(Vec<&str>, i32)> = vec![
        (vec!["status", unknown], 66),
        (vec!["logs", unknown], 66),
        (vec!["logs", "-f", unknown], 66),
        (vec!["kill", unknown], 66),
        (vec!["wait", unknown], 66),
        (vec!["run", "-e", "1BAD=x", "true"], 65),
        (vec!["run", "-e", "RUNVOY_COMMAND=x", "true"], 65),
        (vec!["run", &long], 65),
        (vec!["run", "--timeout", "30d", "true"], 65),
        (vec!["run", "--cpu", "256", "true"], 65),
        (vec!["run", ""], 65),
        (vec!["run"], 2),
        (vec!["run", "--timeout", "soon", "true"], 2),
        (vec!["no-such-command"], 2),
    ];
    for (args, code) in cases {
        let output = server.run(&args);
        let shown: Vec<_> = args.iter().map(|arg| arg.chars().take(40).collect::<String>()).collect();
        assert_eq!(output.status.code(), Some(code), "{shown:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{shown:?}");
        assert!(!stderr(&output).is_empty(), "{shown:?}");
        if code != 2 {
            let errors = stderr(&output).lines().filter(|line| line.starts_with("error")).count();
            assert_eq!(errors, 1, "{shown:?}: {}", stderr(&output));
        }
    }
    assert_eq!(stdout(&server.run(&["list", "-o", "json"])).trim(), "[]");
}

#[test]
fn a_wrong_key_is_77() {
    let server = Server::start();
    let output =
        server.client(&["list"]).env("RUNVOY_API_KEY", "another-key-of-24-characters").output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    let output = server.client(&["list"]).env_remove("RUNVOY_API_KEY").output().unwrap();
    assert!(matches!(output.status.code(), Some(77 | 78)), "{}", stderr(&output));
}

#[test]
fn an_endpoint_on_which_nobody_is_configured_is_78() {
    let home = tempfile::tempdir().unwrap();
    let output = crate::harness::runvoy(home.path()).args(["list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("runvoy configure"), "{}", stderr(&output));
}
