//! Keys and settings that somebody has are not lost, and what has no effect is refused.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};

use crate::harness::{KEY, Server, processes_with, runvoy, stderr, stdout};

/// A server that configures the client of `home`; ends with its value.
struct Serving {
    child: Child,
    endpoint: String,
}

impl Serving {
    fn start(home: &std::path::Path, data: &str, listen: &str) -> (Self, String) {
        let log = home.join(format!("{data}.log"));
        let mut serve = runvoy(home);
        serve.args(["local", "serve", "--listen", listen, "--data-dir", data]);
        serve.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = serve.spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        (Self { child, endpoint: endpoint.trim().to_owned() }, said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(home: &std::path::Path, args: &[&str]) -> Output {
    runvoy(home).args(args).output().unwrap()
}

#[test]
fn a_second_server_does_not_take_the_first_ones_profile() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (first, _) = Serving::start(home, "one", "127.0.0.1:0");
    let (second, said) = Serving::start(home, "two", "127.0.0.1:0");
    assert!(said.contains("profile `local-2`") && said.contains("`--profile local-2`"), "{said}");
    run(home, &["--profile", "local", "run", "echo of the first"]);
    run(home, &["--profile", "local-2", "run", "echo of the second"]);
    let listed = |profile: &str| stdout(&run(home, &["--profile", profile, "list"]));
    assert!(listed("local").contains("of the first") && listed("default").contains("of the first"));
    assert!(listed("local-2").contains("of the second"), "{}", listed("local-2"));
    let ran = run(home, &["local", "run", "--data-dir", "two", "echo", "found"]);
    assert_eq!(stdout(&ran), "found\n", "{}", stderr(&ran));

    // At the address that the first had, of which there are two keys then.
    let address = first.endpoint.strip_prefix("http://").unwrap().to_owned();
    drop((first, second));
    let (third, said) = Serving::start(home, "three", &address);
    assert!(said.contains("profile `local-3`"), "{said}");
    let ran = run(home, &["local", "run", "--data-dir", "three", "echo", "found"]);
    assert_eq!(stdout(&ran), "found\n", "{}", stderr(&ran));
    drop(third);
    let (_first, said) = Serving::start(home, "one", &address);
    assert!(!said.contains("first admin"), "{said}");
    assert!(listed("local").contains("of the first"));
    let ran = run(home, &["local", "run", "--data-dir", "one", "echo", "found"]);
    assert_eq!(stdout(&ran), "found\n", "{}", stderr(&ran));
}

#[test]
fn configure_replaces_no_key_that_works_unless_it_is_told_to() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (server, _) = Serving::start(home, "data", "127.0.0.1:0");
    let endpoint = server.endpoint.as_str();
    let file = || std::fs::read_to_string(home.join(".runvoy/config.yaml")).unwrap();
    let before = file();
    let other = ["configure", "--api-key", "another-key-of-24-characters"];
    let elsewhere = ["configure", "--endpoint", "http://127.0.0.1:1"];
    for args in [&other[..], &elsewhere, &[&elsewhere[..], &other[1..]].concat()] {
        let refused = run(home, args);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("`--force`") && file() == before, "{}", stderr(&refused));
    }
    let same = run(home, &["configure", "--endpoint", endpoint, "--web-url", "http://127.0.0.1:2"]);
    assert_eq!(same.status.code(), Some(0), "{}", stderr(&same));
    let forced = run(home, &[&other[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0), "{}", stderr(&forced));
    assert_eq!(run(home, &["whoami"]).status.code(), Some(77));
    // A key that does not work is worth nothing.
    let again = run(home, &["configure", "--api-key", "a-third-key-of-24-characters"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

#[test]
fn configure_writes_no_address_that_shows_the_key() {
    let home = tempfile::tempdir().unwrap();
    let args = ["configure", "--endpoint", "http://192.0.2.1", "--api-key", KEY];
    let refused = run(home.path(), &args);
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--insecure-http") && !home.path().join(".runvoy").exists());
    let told = run(home.path(), &[&args[..], &["--insecure-http"]].concat());
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
}

#[test]
fn local_run_refuses_what_a_server_has_settled() {
    let server = Server::start();
    for option in [["--run-as", "nobody"], ["--pass-env", "NAME"]] {
        let output = runvoy(server.dir.path())
            .args(["local", "run", "--data-dir"])
            .arg(server.data_dir())
            .args(option)
            .args(["--", "touch", "ran"])
            .env("RUNVOY_API_KEY", KEY)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(option[0]) && said.contains("start that server with it"), "{said}");
    }
    assert_eq!(stdout(&server.run(&["list", "-o", "json"])).trim(), "[]");
}

#[test]
fn a_marker_that_was_only_inherited_keeps_no_key_in_sight() {
    let home = tempfile::tempdir().unwrap();
    let key = "a-key-that-nobody-should-see";
    for marker in ["1", "1 /dev/tty"] {
        let mut serve = runvoy(home.path());
        serve.args(["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
        serve
            .env("RUNVOY_ADMIN_API_KEY", key)
            .env("RUNVOY_API_KEY", key)
            .env("RUNVOY_PRESET_ON_STDIN", marker);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        let shown = processes_with(key);
        let name = std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap();
        let mut who = runvoy(home.path());
        who.env("RUNVOY_API_ENDPOINT", endpoint.trim()).env("RUNVOY_API_KEY", key).arg("whoami");
        let who = who.output().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(shown, Vec::<u32>::new());
        assert_eq!(name, "runvoy\n");
        assert_eq!(who.status.code(), Some(0), "{}", stderr(&who));
    }
}

#[test]
fn a_server_that_may_not_listen_there_looks_after_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    // With an agent that does nothing, what is accepted stays half started.
    let idle = home.join("idle");
    std::fs::write(&idle, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&idle, std::fs::Permissions::from_mode(0o755)).unwrap();
    let serve = |listen: &str| {
        let mut serve = runvoy(home);
        serve.args(["local", "serve", "--executor", "process", "--data-dir", "data", "--listen", listen]);
        serve
    };
    let mut first = serve("127.0.0.1:0");
    first.env("RUNVOY_AGENT", &idle).env("RUNVOY_ADMIN_API_KEY", KEY).stdout(Stdio::piped());
    let mut child = first.stderr(Stdio::null()).spawn().unwrap();
    let mut endpoint = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    let serving = Serving { child, endpoint: endpoint.trim().to_owned() };
    for _ in 0..8 {
        let mut client = runvoy(home);
        client.env("RUNVOY_API_ENDPOINT", &serving.endpoint).env("RUNVOY_API_KEY", KEY);
        let detached = client.args(["run", "--detach", "--", "echo ran >> \"$HOME/ran\""]).output().unwrap();
        assert_eq!(detached.status.code(), Some(0), "{}", stderr(&detached));
    }
    drop(serving);
    let refused = serve("0.0.0.0:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--allow-unsandboxed"), "{}", stderr(&refused));
    let database = home.join("data/runvoy.db");
    let count = "select count(*) from audit_events where event like '%\"load_policies\"%'";
    let counted = std::process::Command::new("sqlite3").arg(&database).arg(count).output().unwrap();
    assert_eq!(stdout(&counted), "1\n", "the first server alone: {}", stderr(&counted));
    let states = "select distinct status from executions";
    let states = std::process::Command::new("sqlite3").arg(&database).arg(states).output().unwrap();
    assert_eq!(stdout(&states), "STARTING\n", "{}", stderr(&states));
    assert!(!home.join("ran").exists(), "a command ran");
}
