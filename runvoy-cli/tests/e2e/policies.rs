use crate::harness::{Server, runvoy, signal, stderr, stdout, until};

fn forbid(id: &str, word: &str) -> String {
    format!(
        r#"@id("{id}") forbid (principal, action == Action::"run", resource)
           when {{ context has command && context.command like "*{word}*" }};"#
    )
}

/// What the refusal of a command says; `None` where it ran.
fn refused(server: &Server, word: &str) -> Option<String> {
    let output = server.run(&["run", "echo", word]);
    (output.status.code() != Some(0)).then(|| stderr(&output))
}

#[test]
fn a_policy_file_is_obeyed_when_it_changes_and_a_bad_one_changes_nothing() {
    let server = Server::start_with_policies(&[("own.cedar", &forbid("acme.one", "one"))]);
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));
    assert_eq!(refused(&server, "two"), None);

    std::fs::write(server.policies().join("bad.cedar"), "\nforbid (principal, action);").unwrap();
    until("the bad file is refused", || {
        let log = server.log();
        log.contains("bad.cedar") && log.contains("stay in force")
    });
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));

    std::fs::write(server.policies().join("own.cedar"), forbid("acme.two", "two")).unwrap();
    std::fs::remove_file(server.policies().join("bad.cedar")).unwrap();
    until("the new policy is obeyed", || refused(&server, "two").is_some_and(|why| why.contains("acme.two")));
    assert_eq!(refused(&server, "one"), None);
}

#[test]
fn can_i_the_denial_and_its_explanation_name_the_same_policy() {
    let lock = r#"@id("acme.closed") forbid (principal, action == Action::"use_lock", resource)
        when { resource.name like "prod-*" };"#;
    let server =
        Server::start_with_policies(&[("own.cedar", &forbid("acme.one", "one")), ("lock.cedar", lock)]);
    let cases: [(&str, &[&str], &str); 2] =
        [("one", &[], "acme.one"), ("two", &["--lock", "prod-infra"], "acme.closed")];
    for (word, options, policy) in cases {
        let asked = server.run(&[&["can-i", "run", "--command", &format!("echo {word}")], options].concat());
        assert_eq!(asked.status.code(), Some(77), "{}", stderr(&asked));
        assert!(stdout(&asked).starts_with(&format!("no: policy `{policy}` forbids ")), "{}", stdout(&asked));
        let real = server.run(&[&["--debug", "run"], options, &["echo", word]].concat());
        assert_eq!(real.status.code(), Some(77), "{}", stderr(&real));
        let said = stderr(&real);
        assert!(said.contains(&format!("policy `{policy}` forbids ")), "{said}");
        let request = said.lines().find_map(|line| line.strip_prefix("request id: ")).unwrap();
        let explained = server.run(&["policies", "explain", request]);
        assert_eq!(explained.status.code(), Some(0), "{}", stderr(&explained));
        let text = stdout(&explained);
        assert!(text.contains("denied") && text.contains(&format!("@id(\"{policy}\")")), "{text}");
    }
    let asked = server.run(&["can-i", "use_lock", "lock:staging"]);
    assert_eq!(
        (asked.status.code(), stdout(&asked).as_str()),
        (Some(0), "yes: policy `runvoy.admin` allows `use_lock` on `lock:staging`\n")
    );
    let listed = stdout(&server.run(&["policies", "list"]));
    assert!(listed.contains("own.cedar:1") && listed.contains("built-in"), "{listed}");
}

#[test]
fn a_server_without_policies_says_so_in_the_audit_log() {
    let server = Server::start();
    // Recorded beside the first requests.
    let recorded = || stdout(&server.run(&["audit", "--action", "load_policies"]));
    until("the start is recorded", || recorded().contains("no files"));
}

#[test]
fn a_hangup_ends_no_server_that_has_policies() {
    let mut server = Server::start_with_policies(&[("own.cedar", &forbid("acme.one", "one"))]);
    signal(server.pid(), "HUP");
    assert!(refused(&server, "one").is_some_and(|why| why.contains("acme.one")));
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn no_server_starts_with_a_bad_policy() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bad.cedar"), "// one\nforbid (principal, action);").unwrap();
    let output = runvoy(home.path())
        .args(["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--policies", "."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("bad.cedar:2: "), "{}", stderr(&output));
}
