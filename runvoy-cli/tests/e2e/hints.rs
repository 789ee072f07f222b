//! A failure says what to do next.

use crate::harness::{Server, runvoy, stderr, stdout, until};

#[test]
fn what_is_not_there_is_looked_for_in_the_right_list() {
    let server = Server::start();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["status", "abcdef"], 66, "`runvoy list`"),
        (&["users", "revoke", "no@b.c"], 66, "`runvoy users list`"),
        (&["users", "rotate", "no@b.c"], 66, "`runvoy users list`"),
        (&["locks", "release", "nope", "--force"], 66, "`runvoy locks list`"),
        (&["users", "create", "admin@localhost", "--role", "admin"], 65, "`runvoy users rotate EMAIL`"),
        (&["list", "--limit", "1001"], 2, "`--all`"),
        (&["run", "--git-ref", "main", "true"], 2, "`--git-repo`"),
    ];
    for (args, code, hint) in cases {
        let output = server.run(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(hint) && said.lines().count() == 1, "{args:?}: {said}");
    }
    assert_eq!(stdout(&server.run(&["list", "-o", "json"])).trim(), "[]");
}

#[test]
fn who_is_not_configured_is_told_how_to_be() {
    let home = tempfile::tempdir().unwrap();
    let token = "A".repeat(32);
    let claim = runvoy(home.path()).args(["claim", &token]).output().unwrap();
    assert_eq!(claim.status.code(), Some(78));
    let want = "error: no server is configured; run `runvoy configure --endpoint URL` first\n";
    assert_eq!(stderr(&claim), want);
    let unreadable = runvoy(home.path()).arg("list").env("RUNVOY_CONFIG", home.path()).output().unwrap();
    assert_eq!(unreadable.status.code(), Some(78));
    assert!(stderr(&unreadable).contains("set RUNVOY_CONFIG"), "{}", stderr(&unreadable));
}

#[test]
fn a_dead_end_names_the_way_round() {
    let server = Server::start();
    server.run(&["users", "create", "a@b.c", "--role", "viewer"]);
    server.run(&["users", "revoke", "a@b.c"]);
    for args in [&["users", "rotate", "a@b.c"][..], &["users", "create", "a@b.c", "--role", "viewer"]] {
        let refused = server.run(args);
        assert_eq!(refused.status.code(), Some(65), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("another address"), "{}", stderr(&refused));
    }
    let data = server.data_dir();
    let serve = ["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let second = runvoy(server.dir.path()).args(serve).output().unwrap();
    assert_eq!(second.status.code(), Some(78));
    assert!(stderr(&second).contains("pass another --data-dir"), "{}", stderr(&second));
    let nobody =
        ["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", "other", "--run-as", "no-such-user"];
    let nobody = runvoy(server.dir.path()).args(nobody).output().unwrap();
    let said = stderr(&nobody);
    assert_eq!(nobody.status.code(), Some(78), "{said}");
    assert!(said.matches("no-such-user").count() <= 1, "said twice: {said}");
}

#[test]
fn who_waits_without_a_terminal_is_told_so_once() {
    let server = Server::start();
    let holder = stdout(&server.run(&["run", "--detach", "--lock", "prod", "sleep 600"])).trim().to_owned();
    let output = server.run(&["run", "--lock", "prod", "--wait", "--max-wait", "1s", "true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(75), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    let place = format!("queued: position 1, behind admin@localhost ({})", &holder[..8]);
    assert!(lines[0].starts_with("note: ") && lines[0].ends_with(&place), "{said}");
    assert_eq!(lines[1].matches("waited").count(), 1, "said twice: {said}");

    let quiet = ["--quiet", "run", "--lock", "prod", "--wait", "--max-wait", "1s", "true"];
    let quiet = server.run(&quiet);
    assert_eq!(stderr(&quiet).lines().count(), 1, "{}", stderr(&quiet));
    server.run(&["kill", &holder]);
}

#[test]
fn a_list_shows_no_code_and_no_start_of_what_never_ran() {
    let server = Server::start();
    let holder = stdout(&server.run(&["run", "--detach", "--lock", "prod", "sleep 600"])).trim().to_owned();
    server.run(&["run", "--lock", "prod", "echo refused"]);
    let waits = stdout(&server.run(&["run", "--detach", "--lock", "prod", "--wait", "echo killed"]));
    until("it waits", || server.record(waits.trim())["status"] == "QUEUED");
    server.run(&["kill", waits.trim()]);
    server.run(&["run", "exit 1"]);
    let listed = stdout(&server.run(&["list"]));
    let cells = |command: &str| {
        let line = listed.lines().find(|line| line.contains(command)).unwrap();
        line.split_whitespace().skip(1).take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells("refused"), ["FAILED", "-", "-", "-"], "{listed}");
    assert_eq!(cells("killed"), ["STOPPED", "-", "-", "-"], "{listed}");
    assert_eq!(cells("exit 1")[..2], ["FAILED", "1"], "{listed}");
    let json: serde_json::Value =
        serde_json::from_slice(&server.run(&["list", "-o", "json"]).stdout).unwrap();
    let marked: Vec<_> = json.as_array().unwrap().iter().map(|one| one.get("never_started")).collect();
    assert_eq!(marked, [None, Some(&true.into()), Some(&true.into()), None]);
    server.run(&["kill", &holder]);
}

#[test]
fn an_image_that_is_not_used_is_said_so() {
    let server = Server::start();
    let output = server.run(&["run", "-i", "alpine", "echo ran"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("ran\n", Some(0)));
    let want = "warning: the server runs commands without images; `alpine` is not used\n";
    assert_eq!(stderr(&output), want);
}
