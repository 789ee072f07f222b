//! When standard output takes nothing, or nobody reads it.

use std::fs::File;
use std::process::{Command, Output, Stdio};

use crate::harness::{Server, runvoy, stderr, stdout, until};

fn into_full(mut command: Command) -> Output {
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

/// With a standard output whose reader is gone already.
fn into_closed(mut command: Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn what_cannot_be_printed_is_told_with_a_way_to_get_it() {
    let server = Server::start();
    let run = || server.client(&["run", "--detach", "true"]);
    for (output, code) in [(into_full(run()), 125), (into_closed(run()), 141)] {
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let mut words = said.split_whitespace();
        let id = words.find(|word| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!(server.ended(id.expect(&said))["status"], "SUCCEEDED", "{said}");
    }

    let create = |email: &str, more: &[&str]| {
        server.client(&[&["users", "create", email, "--role", "viewer"], more].concat())
    };
    let outputs = [
        (into_full(create("a@b.c", &[])), 125),
        (into_closed(create("d@b.c", &[])), 141),
        (into_full(create("e@b.c", &["-o", "json"])), 125),
    ];
    for (output, code) in outputs {
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let way = said.split('`').find(|part| part.starts_with("runvoy users rotate ")).expect(&said);
        let again = server.run(&way.split(' ').skip(1).collect::<Vec<_>>());
        assert_eq!(again.status.code(), Some(0), "{way}: {}", stderr(&again));
        assert!(!said.contains(stdout(&again).trim()), "{said}");
    }
}

#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    let with = |args: &[&str]| {
        let mut command = runvoy(home.path());
        command.args(args);
        command
    };
    for args in [&["--help"][..], &["run", "--help"], &["--version"], &["docs"]] {
        let output = into_full(with(args));
        assert_eq!(output.status.code(), Some(125), "{args:?}");
        assert!(stderr(&output).starts_with("error: cannot write to standard output"), "{}", stderr(&output));
        assert_eq!(into_closed(with(args)).status.code(), Some(141), "{args:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_noticed_although_nothing_is_said() {
    let server = Server::start();
    let silent = into_closed(server.client(&["run", "sleep 600"]));
    assert_eq!(silent.status.code(), Some(141), "{}", stderr(&silent));
    let id = stdout(&server.run(&["list"])).lines().nth(1).unwrap()[..8].to_owned();
    assert_eq!(server.ended(&id)["status"], "STOPPED");

    let id = server.detach("sleep 600");
    until("it runs", || server.record(&id)["status"] == "RUNNING");
    let follower = into_closed(server.client(&["logs", "-f", &id]));
    assert_eq!(follower.status.code(), Some(141), "{}", stderr(&follower));
    assert_eq!(server.record(&id)["status"], "RUNNING", "who only follows ends nothing");
    server.run(&["kill", &id]);
}
