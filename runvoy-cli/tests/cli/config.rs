use crate::common::{Answer, Server, TestEnv};

const ME: &str = r#"{"email":"a@b","role":"admin"}"#;

#[test]
fn without_a_server_one_line_says_what_to_run() {
    let ran = TestEnv::empty().run(&["run", "x"]);
    let want = "error: no server is configured; run `runvoy configure --endpoint URL --api-key KEY`\n";
    assert_eq!((ran.stderr.as_str(), ran.code), (want, 78));
    let env = TestEnv::new("::");
    std::fs::write(env.config(), "api_key: [secret\n").unwrap();
    let ran = env.run(&["whoami"]);
    assert_eq!((ran.code, ran.stderr.lines().count()), (78, 1), "{}", ran.stderr);
}

#[test]
fn the_files_key_goes_to_the_files_server_only() {
    let server = Server::new([Answer::json(200, ME), Answer::json(200, ME), Answer::json(200, ME)]);
    let env = TestEnv::new("http://127.0.0.1:1")
        .set("RUNVOY_API_ENDPOINT", &format!("{}/prefix/", server.endpoint));
    env.run(&["whoami"]);
    let env = env.set("RUNVOY_API_KEY", "from-the-environment");
    env.run(&["whoami"]);
    let asked = server.asked();
    assert_eq!(asked[0].key, None);
    assert_eq!(asked[0].line, "GET /prefix/api/v1/me");
    assert_eq!(asked[1].key.as_deref(), Some("from-the-environment"));
    assert_eq!(env.run(&["--profile", "default", "whoami"]).code, 69, "the file's server");
}

#[test]
fn who_has_no_key_is_told_where_one_comes_from() {
    let refused = || Server::new([Answer::error(401, "Unauthorized", "API key is required")]);
    let server = refused();
    let env = TestEnv::new("http://127.0.0.1:1").set("RUNVOY_API_ENDPOINT", &server.endpoint);
    let want = "error: the server does not accept the API key (API key is required); set RUNVOY_API_KEY: \
                a key of the configuration file is never sent to an endpoint from the environment\n";
    assert_eq!(env.run(&["whoami"]).stderr, want);

    let server = refused();
    let env = TestEnv::empty();
    let configured = env.run(&["configure", "--endpoint", &server.endpoint]);
    assert!(configured.stderr.contains("`runvoy claim TOKEN`"), "{}", configured.stderr);
    let ran = env.run(&["whoami"]);
    assert_eq!(ran.code, 77);
    assert!(ran.stderr.contains("`runvoy claim TOKEN`") && ran.stderr.lines().count() == 1, "{}", ran.stderr);

    let server = refused();
    let ran = TestEnv::new(&server.endpoint).run(&["whoami"]);
    assert!(ran.stderr.contains("`runvoy configure`") && !ran.stderr.contains("claim"), "{}", ran.stderr);
}

#[test]
fn configure_writes_what_is_then_used() {
    let server = Server::new([Answer::json(200, ME)]);
    let env = TestEnv::empty();
    let ran = env.run_with_input(
        &["configure", "--profile", "ci", "--endpoint", &server.endpoint, "--api-key", "-"],
        "the-key-from-standard-input\n",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let ran = env.run(&["whoami", "--profile", "ci"]);
    assert_eq!((ran.stdout.as_str(), ran.code), ("email: a@b\nrole:  admin\n", 0));
    assert_eq!(server.asked()[0].key.as_deref(), Some("the-key-from-standard-input"));
    assert_eq!(env.run(&["whoami"]).code, 78, "there is no default profile");
    assert_eq!(env.run(&["configure"]).code, 2, "there is no terminal to ask on");
}

#[test]
fn http_to_elsewhere_needs_a_word() {
    let ran = TestEnv::new("http://192.0.2.1").run(&["whoami"]);
    assert_eq!(ran.code, 78);
    assert!(ran.stderr.contains("--insecure-http"), "{}", ran.stderr);
}

#[test]
fn usage_errors_and_plain_commands() {
    let env = TestEnv::empty();
    assert_eq!(env.run(&["bogus"]).code, 2);
    assert_eq!(env.run(&["run", "--bogus", "x"]).code, 2);
    let ran = env.run(&["version"]);
    assert_eq!((ran.stdout, ran.code), (format!("runvoy {}\n", env!("CARGO_PKG_VERSION")), 0));
    for shell in ["bash", "zsh", "fish"] {
        assert!(env.run(&["completions", shell]).stdout.contains("runvoy"), "{shell}");
    }
    assert!(env.run(&["docs"]).stdout.contains("EXIT CODES"));
}
