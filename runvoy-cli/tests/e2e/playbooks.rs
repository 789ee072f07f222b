//! Playbooks from outside: what is written down is what runs.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::harness::{Server, stderr, stdout};

fn write(server: &Server, name: &str, text: &str) {
    let path = server.dir.path().join(".runvoy").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn playbook(server: &Server, args: &[&str]) -> Output {
    server.run(&[&["playbook"], args].concat())
}

#[test]
fn every_example_playbook_runs() {
    let server = Server::start();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/playbooks");
    let in_examples = |args: &[&str]| server.client(args).current_dir(&examples).output().unwrap();
    let listed = in_examples(&["playbook", "list", "-o", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["check/disk", "deploy", "report"]);
    for name in names {
        // A full disk is not what this is about.
        let ran = in_examples(&["playbook", "run", name, "-e", "MAX_PERCENT=100"]);
        assert_eq!(ran.status.code(), Some(0), "{name}: {}", stderr(&ran));
        assert_ne!(stdout(&ran), "", "{name}");
    }
}

#[test]
fn a_playbook_runs_as_written_and_options_override_it() {
    let server = Server::start();
    let text = "
description: says what it got
lock: infra/prod
on_lock_held: queue
timeout: 90
env: {A: playbook, B: playbook, C: playbook, D: playbook}
commands:
  - echo $A $B $C $D
  - test \"$A\" = playbook
  - echo never
";
    write(&server, "deep/say.yaml", text);
    let file = server.dir.path().join("vars");
    std::fs::write(&file, "B=file\nC=file\nD=file\n").unwrap();
    let mut command = server.client(&["playbook", "run", "deep/say", "-e", "D=flag", "--env-file"]);
    command.arg(&file).env("RUNVOY_USER_C", "user").env("RUNVOY_USER_D", "user");
    let ran = command.output().unwrap();
    assert_eq!(stdout(&ran), "playbook file user flag\nnever\n", "{}", stderr(&ran));

    // The second command fails, so the third does not run.
    let args = ["run", "deep/say", "-e", "A=flag", "--lock", "other", "--timeout", "2m", "--detach"];
    let id = stdout(&playbook(&server, &args)).trim().to_owned();
    let record = server.ended(&id);
    assert_eq!((&record["exit_code"], &record["timeout"]), (&1.into(), &120.into()));
    assert_eq!(record["lock"]["name"], "other");
    let log = stdout(&server.run(&["logs", &id]));
    assert_eq!(log, "flag playbook playbook playbook\n");

    let shown = playbook(&server, &["show", "deep/say", "-o", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["lock"], &shown["timeout"]), (&"infra/prod".into(), &90.into()));
    let shown = stdout(&playbook(&server, &["show", "deep/say"]));
    assert!(
        shown.contains("command:      echo $A $B $C $D && test \"$A\" = playbook && echo never\n"),
        "{shown}"
    );
}

#[test]
fn what_is_wrong_with_a_playbook_is_said_and_nothing_runs() {
    let server = Server::start();
    write(&server, "bad.yaml", "commands: [make]\n\nenviroment: {A: find-me}\n");
    write(&server, "wants.yaml", "commands: [make]\nsecrets: [gh]\n");
    write(&server, "free.yaml", "commands: [make]\n");
    write(&server, "config.yaml", "api_key: find-me\n");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["bad"], 78, "`.runvoy/bad.yaml` line 3: unknown key `enviroment`; did you mean `env`?"),
        (&["wants"], 65, "secrets: there is no secret `gh`"),
        (&["free", "--secret", "gh"], 65, "secrets: there is no secret `gh`"),
        (&["free", "--git-repo", "git@example.test:a.git"], 65, "git_repo: the address is an SSH address"),
        (&["free", "--wait"], 2, "name one with `--lock`"),
        (&["fre"], 66, "there is no playbook `fre`; did you mean `free`?"),
        (&["config"], 66, "never a playbook"),
        (&["../config"], 2, "a playbook's name is"),
    ];
    for (args, code, words) in cases {
        let ran = playbook(&server, &[&["run"], args].concat());
        let said = stderr(&ran);
        assert_eq!(ran.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("find-me"), "{args:?}: {said}");
    }
    let listed = stdout(&playbook(&server, &["list"]));
    assert!(listed.contains("error: `.runvoy/bad.yaml` line 3: unknown key"), "{listed}");
    assert!(!listed.contains("config"), "{listed}");
    assert_eq!(server.run(&["list", "-o", "json"]).stdout, b"[]\n", "nothing was started");
}
