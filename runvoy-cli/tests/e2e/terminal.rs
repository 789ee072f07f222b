//! What a terminal shows: `script` is one.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Server, stdout, until};

/// A shell line on a terminal, ready to run.
fn terminal(client: &Command, line: &str) -> Command {
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]).env_clear().env("BIN", client.get_program());
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(client.get_current_dir().unwrap());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn the_status_line_leaves_room_for_what_the_terminal_echoes() {
    let server = Server::start();
    let holder = stdout(&server.run(&["run", "--detach", "--lock", "prod", "sleep 600"]));
    let client = server.client(&[]);
    let line = "stty rows 24 cols 50; exec \"$BIN\" run --lock prod --wait true";
    let mut child = terminal(&client, line).spawn().unwrap();
    let waiters = || {
        let shown = server.run(&["locks", "show", "prod", "-o", "json"]);
        let lock: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        lock["waiters"].as_array().unwrap().len()
    };
    until("it waits", || waiters() == 1);
    // Ctrl-C, as a terminal gets it.
    std::io::Write::write_all(&mut child.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text:?}");
    let lines: Vec<_> = text.split("\r\u{1b}[2K").filter(|line| line.contains("queued")).collect();
    assert!(!lines.is_empty(), "{text:?}");
    for line in lines {
        let line = line.trim_end_matches("^C");
        assert!(
            line.chars().count() <= 46 && !line.contains('\n'),
            "it moves on when something follows: {text:?}"
        );
    }
    assert!(text.contains("has left the line and does not run"), "{text:?}");
    assert_eq!(waiters(), 0);
    server.run(&["kill", holder.trim()]);
}

#[test]
fn a_server_that_starts_itself_again_keeps_its_terminal() {
    let home = tempfile::tempdir().unwrap();
    let mut client = crate::harness::runvoy(home.path());
    client.env("RUNVOY_ADMIN_API_KEY", crate::harness::KEY);
    let line = "exec \"$BIN\" local serve --listen 127.0.0.1:0 --data-dir data";
    let child = terminal(&client, line).stderr(Stdio::null()).spawn().unwrap();
    let note = home.path().join("data/server.lock");
    let note = || -> Option<serde_json::Value> { serde_json::from_slice(&std::fs::read(&note).ok()?).ok() };
    until("it serves", || note().is_some_and(|note| note["endpoint"].is_string()));
    let pid = u32::try_from(note().unwrap()["pid"].as_u64().unwrap()).unwrap();
    let shown = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
    let stdin = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    let (name, environment) = (shown("comm"), shown("environ"));
    crate::harness::signal(pid, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdin.starts_with("/dev/pts"), "{}", stdin.display());
    assert_eq!(name, b"runvoy\n");
    let key = crate::harness::KEY.as_bytes();
    assert!(!environment.windows(key.len()).any(|part| part == key));
}

#[test]
fn who_waits_no_longer_leaves_no_line_behind() {
    let server = Server::start();
    let id = server.detach("sleep 600");
    let client = server.client(&[]);
    let mut child = terminal(&client, &format!("exec \"$BIN\" wait {id}")).spawn().unwrap();
    let mut shown = [0; 1];
    let mut out = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut shown).unwrap();
    std::io::Write::write_all(&mut child.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut out, &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{text:?}");
    let last = text.rsplit("\r\u{1b}[2K").next().unwrap();
    assert!(last.contains("interrupted") && last.contains("goes on"), "{text:?}");
    server.run(&["kill", &id]);
}

#[test]
fn the_reference_is_readable_on_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let client = crate::harness::runvoy(home.path());
    let shown = |path: &Path| {
        let mut command = terminal(&client, "PATH=$SHOWN; export PATH; exec \"$BIN\" docs");
        command.env("SHOWN", path);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = shown(home.path());
    assert!(text.contains("## `runvoy run`") && !text.contains(".TH"), "without `man`: {text}");
    let man = home.path().join("man");
    std::fs::write(
        &man,
        "#!/bin/sh\necho \"man $*\"\nwhile read -r line; do case $line in .TH*) echo a page;; esac; done\n",
    )
    .unwrap();
    std::fs::set_permissions(&man, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(shown(home.path()).replace('\r', ""), "man -l -\na page\n");
}

#[test]
fn a_list_that_may_go_on_says_so() {
    let server = Server::start();
    for _ in 0..2 {
        server.run(&["run", "true"]);
    }
    let client = server.client(&[]);
    let shown = |limit: u32| {
        let line = format!("exec \"$BIN\" list --limit {limit}");
        let output = terminal(&client, &line).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let (full, short) = (shown(2), shown(3));
    assert!(full.contains("`--all` shows every one"), "{full}");
    assert!(!short.contains("--all"), "{short}");
}
