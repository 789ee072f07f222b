//! It feels like a local shell.

use sha2::{Digest, Sha256};

use crate::harness::{Running, Server, stderr, stdout, until};

#[test]
fn exit_codes_come_through() {
    let server = Server::start();
    let cases = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 126", 126),
        ("no-such-command-here", 127),
        ("-x", 127),
        ("+x", 127),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("/etc/passwd", 126),
    ];
    for (command, code) in cases {
        let output = server.run(&["run", "--", command]);
        assert_eq!(output.status.code(), Some(code), "{command}: {}", stderr(&output));
    }
}

#[test]
fn a_timeout_is_124_and_says_so() {
    let server = Server::start();
    let output = server.run(&["run", "--timeout", "1", "--grace", "1", "echo begun; sleep 600"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("begun\n", Some(124)));
    assert!(stderr(&output).contains("timeout"), "{}", stderr(&output));
}

#[test]
fn a_killed_command_is_143() {
    let server = Server::start();
    let mut running = Running::spawn(server.client(&["run", "echo here; sleep 600"]));
    running.expect("here");
    let list: serde_json::Value =
        serde_json::from_slice(&server.run(&["list", "-o", "json"]).stdout).unwrap();
    let id = list[0]["execution_id"].as_str().unwrap();
    let killed = server.run(&["kill", id]);
    assert_eq!(killed.status.code(), Some(0), "{}", stderr(&killed));
    assert_eq!(server.record(id)["status"], "STOPPED");
    let (code, out, _) = running.finish();
    assert_eq!((code, out.as_slice()), (Some(143), b"here\n".as_slice()));
}

#[test]
fn words_stay_words() {
    let server = Server::start();
    assert_eq!(stdout(&server.run(&["run", "echo", "a b"])), "a b\n");
    assert_eq!(
        stdout(&server.run(&["run", "printf", "%s|", "a  b", "", "c'd", "$HOME", "`x`"])),
        "a  b||c'd|$HOME|`x`|"
    );
    assert_eq!(stdout(&server.run(&["run", "--no-shell", "printf", "%s|", "$HOME", "a b"])), "$HOME|a b|");
    assert_eq!(stdout(&server.run(&["run", "echo x | tr x y"])), "y\n");
}

#[test]
fn a_command_arrives_byte_for_byte_and_is_evaluated_once() {
    let server = Server::start();
    let dir = server.dir.path().display();
    let command = format!(
        "printf '%s\\n' \"$(echo once >> {dir}/count; echo 'it'\"'\"'s 100% \"ü\"')\"\nprintf '%s\\n' \"$RUNVOY_COMMAND\""
    );
    let output = server.run(&["run", &command]);
    assert_eq!(stdout(&output), format!("it's 100% \"ü\"\n{command}\n"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(server.dir.path().join("count")).unwrap(), "once\n");
}

#[test]
fn ten_megabytes_of_random_bytes_come_out_the_same() {
    let server = Server::start();
    let file = server.dir.path().join("random");
    let status = std::process::Command::new("sh")
        .args(["-c", "head -c 10000000 /dev/urandom > \"$0\""])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    let output = server.run(&["run", "cat", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected = std::fs::read(&file).unwrap();
    assert_eq!(output.stdout.len(), expected.len());
    assert_eq!(Sha256::digest(&output.stdout), Sha256::digest(&expected));
    // The log gives the same bytes again.
    let id = stdout(&server.run(&["list", "-o", "json"]));
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let again = server.run(&["logs", id[0]["execution_id"].as_str().unwrap()]);
    assert_eq!(Sha256::digest(&again.stdout), Sha256::digest(&expected));
}

#[test]
fn both_outputs_keep_apart_and_in_order() {
    let server = Server::start();
    let output = server.run(&["run", "for i in $(seq 500); do echo out $i; echo err $i >&2; done"]);
    let lines = |name: &str| (1..=500).map(|n| format!("{name} {n}\n")).collect::<String>();
    assert_eq!(stdout(&output), lines("out"));
    assert_eq!(stderr(&output), lines("err"));
}

#[test]
fn a_prompt_and_a_progress_bar_show_while_the_command_runs() {
    let server = Server::start();
    let go = server.dir.path().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    let mut running = Running::spawn(server.client(&["run", &format!("printf 'name? '; {wait}; echo done")]));
    running.expect("name? ");
    std::fs::write(&go, "").unwrap();
    let (code, out, _) = running.finish();
    assert_eq!((code, String::from_utf8(out).unwrap().as_str()), (Some(0), "name? done\n"));

    std::fs::remove_file(&go).unwrap();
    // A bar that is drawn faster than any silence.
    let bar =
        format!("i=0; while [ ! -e {} ]; do i=$((i+1)); printf '\\r%d%%' $i; sleep 0.02; done", go.display());
    let mut running = Running::spawn(server.client(&["run", &bar]));
    running.expect("\r5%");
    std::fs::write(&go, "").unwrap();
    assert_eq!(running.finish().0, Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    let server = Server::start();
    let output = std::process::Command::new("bash")
        .args(["-c", "\"$0\" run 'yes' | head -1; echo ${PIPESTATUS[0]}", env!("CARGO_BIN_EXE_runvoy")])
        .envs(server.client(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "y\n141\n", "{}", stderr(&output));
    let list: serde_json::Value =
        serde_json::from_slice(&server.run(&["list", "-o", "json"]).stdout).unwrap();
    let record = server.ended(list[0]["execution_id"].as_str().unwrap());
    assert_eq!(record["status"], "STOPPED");
}

#[test]
fn a_follower_who_comes_late_sees_everything_and_is_told_the_end() {
    let server = Server::start();
    let go = server.dir.path().join("go");
    let id = server.detach(&format!(
        "seq 1000; while [ ! -e {} ]; do sleep 0.01; done; echo last; exit 3",
        go.display()
    ));
    let mut running = Running::spawn(server.client(&["logs", "-f", &id]));
    running.expect("1000\n");
    std::fs::write(&go, "").unwrap();
    let (code, followed, said) = running.finish();
    assert_eq!((code, said.as_str()), (Some(3), ""), "whoever followed exits as the command did");
    let expected: String = (1..=1000).map(|n| format!("{n}\n")).chain(["last\n".to_owned()]).collect();
    assert_eq!(String::from_utf8(followed).unwrap(), expected);
    assert_eq!(stdout(&server.run(&["logs", &id])), expected);
    for args in [&["wait", &id][..], &["logs", "-f", &id], &["logs", "-f", "-o", "json", &id]] {
        assert_eq!(server.run(args).status.code(), Some(3), "{args:?}");
    }
    assert_eq!(server.run(&["logs", &id]).status.code(), Some(0), "to read is to succeed");
    assert_eq!(stdout(&server.run(&["logs", "--tail", "2", &id])), "1000\nlast\n");
}

#[test]
fn a_log_that_grows_faster_than_it_is_read_is_printed_as_it_was() {
    let server = Server::start();
    let id = server.detach("while :; do echo flood flood flood flood; done");
    let printed = |tail: &str| stdout(&server.run(&["logs", "--tail", tail, &id])).lines().count();
    until("there are lines", || printed("2000") == 2000);
    for tail in [1, 999, 1000, 1001, 2000] {
        assert_eq!(printed(&tail.to_string()), tail);
    }
    assert!(stdout(&server.run(&["logs", &id])).lines().count() >= 2000);
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let server = Server::start();
    let output = server
        .client(&["run", "-e", "A=1 2", "-e", "COPIED", "env"])
        .env("COPIED", "from the caller")
        .env("RUNVOY_USER_B", "two")
        .output()
        .unwrap();
    let text = stdout(&output);
    for expected in ["A=1 2", "B=two", "COPIED=from the caller", "CI=true", "RUNVOY_USER=admin@localhost"] {
        assert!(text.lines().any(|line| line == expected), "{expected} is not in {text}");
    }
    assert!(text.lines().any(|line| line == "FOR_ALL=shared"), "{text}");
    assert!(!text.contains("OF_THE_ADMIN") && !text.contains("API_KEY"), "{text}");
}

#[test]
fn standard_input_is_empty() {
    let server = Server::start();
    let mut command = server.client(&["run", "cat; echo end"]);
    let mut running = Running::spawn({
        command.stdin(std::process::Stdio::piped());
        command
    });
    running.child.stdin.take();
    let (code, out, err) = running.finish();
    assert_eq!((code, out.as_slice()), (Some(0), b"end\n".as_slice()));
    assert!(err.contains("input"), "{err}");
}
