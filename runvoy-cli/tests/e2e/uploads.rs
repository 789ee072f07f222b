//! Commands that start in a directory of the caller's, as it is.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::docker::engine;
use crate::harness::{Server, runvoy, stderr, stdout};

/// A project whose dependencies and output are ignored, below the directory that clients run in.
fn project(home: &Path) -> PathBuf {
    let root = home.join("project");
    for (name, text) in [
        ("app/main.sh", "#!/bin/sh\ncat lib/text; pwd | sed 's|.*/||'\n"),
        ("lib/text", "hello\n"),
        (".gitignore", "node_modules/\n*.log\n"),
        (".runvoyignore", "/target\n"),
        (".config", "hidden\n"),
        ("node_modules/a/index.js", "ignored\n"),
        ("target/out", "ignored\n"),
        ("build.log", "ignored\n"),
        (".git/config", "ignored\n"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::set_permissions(root.join("app/main.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("app/main.sh", root.join("run")).unwrap();
    // Two gigabytes that take no room.
    File::create(root.join("node_modules/large.bin")).unwrap().set_len(2 << 30).unwrap();
    root
}

fn archives(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data_dir().join("code")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn last(server: &Server) -> Value {
    let listed = server.run(&["list", "--limit", "1", "-o", "json"]);
    let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
    server.record(list[0]["execution_id"].as_str().unwrap())
}

fn uploads(server: &Server) -> usize {
    stdout(&server.run(&["audit", "--action", "upload_code", "-o", "json"])).lines().count()
}

#[test]
fn a_directory_is_uploaded_once_without_what_is_ignored_and_the_command_starts_in_it() {
    let engines = [None].into_iter().chain(engine().map(Some));
    for server in engines.map(|engine| Server::start_in(&[], engine)) {
        let root = project(server.dir.path());
        let run = |command: &str| {
            server.run(&["run", "--upload", "project", "-e", "WHO=the caller", "--", command])
        };
        let ran = run("ls -A; cat .env; ./run");
        let listed = ".config\n.env\n.gitignore\n.runvoyignore\napp\nlib\nrun\nWHO='the caller'\nhello\n";
        assert!(stdout(&ran).starts_with(listed), "{}\n{}", stdout(&ran), stderr(&ran));
        assert!(stderr(&ran).contains("uploaded 5 files of project, "), "{}", stderr(&ran));
        let record = last(&server);
        let [archive] = &archives(&server)[..] else { panic!("{:?}", archives(&server)) };
        assert_eq!(record["code"].as_str(), archive.file_name().unwrap().to_str());
        assert_eq!(record["code_bytes"], fs::metadata(archive).unwrap().len());
        assert!(fs::metadata(archive).unwrap().len() < 2000);
        assert!(stdout(&server.run(&["status", record["execution_id"].as_str().unwrap()])).contains("code:"));

        // Touched, and what is ignored is another: nothing that is sent has changed.
        File::open(root.join("lib/text")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        fs::write(root.join("build.log"), "another").unwrap();
        let again = run("cat lib/text");
        assert_eq!((stdout(&again).as_str(), stderr(&again).as_str()), ("hello\n", ""));
        assert_eq!((archives(&server).len(), uploads(&server)), (1, 1));

        fs::write(root.join("lib/text"), "changed\n").unwrap();
        assert_eq!(stdout(&run("cat lib/text")), "changed\n");
        assert_eq!((archives(&server).len(), uploads(&server)), (2, 2));
    }
}

#[test]
fn a_run_without_a_server_takes_a_directory_too() {
    let home = tempfile::tempdir().unwrap();
    project(home.path());
    let args = ["local", "run", "--executor", "process", "--upload", "project", "--", "./run"];
    let ran = runvoy(home.path()).args(args).output().unwrap();
    assert_eq!(stdout(&ran), "hello\nwork\n", "{}", stderr(&ran));
    assert!(stderr(&ran).contains("uploaded 5 files"), "{}", stderr(&ran));
}

#[test]
fn what_cannot_be_uploaded_is_told_and_nothing_runs() {
    let server = Server::start();
    let home = server.dir.path();
    project(home);
    fs::create_dir(home.join("leaks")).unwrap();
    symlink("../secret", home.join("leaks/out")).unwrap();
    fs::write(home.join("file"), "x").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--upload", "project", "-g", "https://git.test/a"], "--git-repo"),
        (&["--upload", "nowhere"], "`nowhere` cannot be uploaded"),
        (&["--upload", "file"], "`file` is no directory"),
        (&["--upload", "leaks"], "`out` is a link to `../secret`, which leads out of the code"),
        (&["--upload", "project", "--git-token-secret", "x"], "--git-token-secret"),
    ];
    for (options, sentence) in cases {
        let refused = server.run(&[&["run"], options, &["--", "true"]].concat());
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{options:?}: {said}");
        assert!(said.contains(sentence) && said.lines().count() == 1, "{options:?}: {said}");
    }
    assert_eq!(server.run(&["list", "-o", "json"]).stdout, b"[]\n");
    assert!(archives(&server).is_empty());
}

#[test]
fn who_may_not_upload_is_told_so_before_anything_is_sent() {
    let policy = r#"forbid (principal, action == Action::"upload_code", resource);"#;
    let server = Server::start_with_policies(&[("no-uploads.cedar", policy)]);
    project(server.dir.path());
    let refused = server.run(&["run", "--upload", "project", "--", "true"]);
    assert_eq!(refused.status.code(), Some(77), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("you are not allowed to upload code"), "{}", stderr(&refused));
    assert!(archives(&server).is_empty());
}

#[test]
fn code_that_was_damaged_on_the_server_runs_nothing() {
    let server = Server::start();
    project(server.dir.path());
    let run = || server.run(&["run", "--upload", "project", "--", "echo ran"]);
    assert_eq!(stdout(&run()), "ran\n");
    let [archive] = &archives(&server)[..] else { panic!("{:?}", archives(&server)) };
    fs::set_permissions(archive, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(archive, bytes).unwrap();
    let damaged = run();
    assert_eq!((damaged.status.code(), stdout(&damaged).as_str()), (Some(125), ""));
    let said = stderr(&damaged);
    assert!(said.contains("the uploaded code") && said.contains("upload it again"), "{said}");
    assert_eq!(last(&server)["status_reason"], "workspace_failed");
    // What it says helps, and at once.
    let mended = run();
    assert_eq!(stdout(&mended), "ran\n", "{}", stderr(&mended));
    assert!(stderr(&mended).contains("uploaded 5 files"), "{}", stderr(&mended));
    assert_eq!((archives(&server).len(), uploads(&server)), (1, 2));
    assert_eq!((stdout(&run()).as_str(), uploads(&server)), ("ran\n", 2));
}

#[test]
fn a_directory_takes_the_place_of_a_playbooks_repository() {
    let server = Server::start();
    project(server.dir.path());
    fs::create_dir_all(server.dir.path().join(".runvoy")).unwrap();
    let book = "commands: [cat lib/text]\ngit_repo: https://git.invalid/a.git\ngit_ref: main\n";
    fs::write(server.dir.path().join(".runvoy/show.yaml"), book).unwrap();
    let ran = server.run(&["playbook", "run", "show", "--upload", "project"]);
    assert_eq!(stdout(&ran), "hello\n", "{}", stderr(&ran));
    assert_eq!(last(&server).get("git_repo"), None);
}

#[test]
fn code_of_a_run_that_waits_is_there_when_its_turn_comes_also_after_a_crash() {
    let mut server = Server::start();
    project(server.dir.path());
    let detach = |server: &Server, options: &[&str], command: &str| {
        let output =
            server.run(&[&["run", "--detach", "--lock", "prod"], options, &["--", command]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    let holder = detach(&server, &[], "sleep 600");
    let waiter = detach(&server, &["--wait", "--upload", "project"], "cat lib/text");
    server.crash();
    server.restart();
    server.run(&["kill", &holder, "--grace", "1s"]);
    assert_eq!(server.ended(&waiter)["status"], "SUCCEEDED");
    assert_eq!(stdout(&server.run(&["logs", &waiter])), "hello\n");
}
