use crate::harness::{KEY, Server, runvoy, stderr, stdout};

#[test]
fn a_command_runs_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let output = runvoy(home.path())
        .args(["local", "run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "out\n");
    assert!(stderr(&output).contains("err\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn an_ending_points_to_no_server_that_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let args = ["local", "run", "--timeout", "1s", "--grace", "1s", "sleep 600"];
    let output = runvoy(home.path()).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(124));
    assert!(
        stderr(&output).contains("timeout") && !stderr(&output).contains("runvoy status"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_came_of_a_run_is_in_the_audit_log_once() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for code in 1..6 {
        let command = format!("exit {code}");
        let ran = runvoy(home.path()).args(["local", "run", "--data-dir"]).arg(&data).arg(command).status();
        assert_eq!(ran.unwrap().code(), Some(code));
    }
    let outcomes = "SELECT event FROM audit_events WHERE event LIKE '%\"outcome\"%';";
    let read = std::process::Command::new("sqlite3").arg(data.join("runvoy.db")).arg(outcomes).output();
    let read = stdout(&read.unwrap());
    assert_eq!(read.lines().count(), 5, "{read}");
    for code in 1..6 {
        assert_eq!(read.matches(&format!("exit code {code}")).count(), 1, "{read}");
    }
}

#[test]
fn it_talks_to_the_server_that_holds_the_directory() {
    let server = Server::start();
    let output = runvoy(server.dir.path())
        .args(["local", "run", "--data-dir"])
        .arg(server.data_dir())
        .args(["--", "echo", "hello"])
        .env("RUNVOY_API_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("hello\n", Some(0)), "{}", stderr(&output));
    // The server knows of it.
    assert!(stdout(&server.run(&["list"])).contains("echo hello"));
}

#[test]
fn what_ran_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let run = |text: &str| {
        runvoy(home.path())
            .args(["local", "run", "--data-dir"])
            .arg(&data)
            .args(["--", "echo", text])
            .output()
            .unwrap()
    };
    assert_eq!(stdout(&run("one")), "one\n");
    assert_eq!(stdout(&run("two")), "two\n");
    let database = data.join("runvoy.db");
    let rows = std::process::Command::new("sqlite3")
        .arg(&database)
        .arg("select command || ' ' || status from executions order by created_at, id")
        .output()
        .unwrap();
    assert_eq!(stdout(&rows), "echo one SUCCEEDED\necho two SUCCEEDED\n", "{}", stderr(&rows));
}
