use crate::harness::{Running, Server, stderr, stdout, until};

#[test]
fn sigterm_leaves_commands_running_and_followers_resume() {
    let mut server = Server::start();
    let go = server.dir.path().join("go");
    let id =
        server.detach(&format!("echo one; while [ ! -e {} ]; do sleep 0.01; done; echo two", go.display()));
    let mut running = Running::spawn(server.client(&["logs", "-f", &id]));
    running.expect("one");
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    server.restart();
    std::fs::write(&go, "").unwrap();
    let (code, out, err) = running.finish();
    assert_eq!((code, out.as_slice()), (Some(0), b"one\ntwo\n".as_slice()), "{err}");
    assert_eq!(server.ended(&id)["status"], "SUCCEEDED");
}

#[test]
fn a_server_that_is_gone_is_69() {
    let mut server = Server::start();
    server.terminate();
    let output = server.run(&["list"]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert_eq!(
        stderr(&output).lines().filter(|line| line.starts_with("error")).count(),
        1,
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_directory_has_one_server() {
    let server = Server::start();
    let second = crate::harness::runvoy(server.dir.path())
        .args(["local", "serve", "--executor", "process", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(server.data_dir())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(78), "{}", stderr(&second));
    assert!(stderr(&second).contains(&server.pid().to_string()), "{}", stderr(&second));
    assert_eq!(stdout(&second), "");
}

#[test]
fn the_first_start_configures_the_client() {
    let home = tempfile::tempdir().unwrap();
    let mut serve = crate::harness::runvoy(home.path())
        .args(["local", "serve", "--executor", "process", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(serve.stdout.take().unwrap()), &mut line)
        .unwrap();
    let output = crate::harness::runvoy(home.path()).args(["run", "echo", "configured"]).output().unwrap();
    let whoami = crate::harness::runvoy(home.path()).args(["whoami", "-o", "json"]).output().unwrap();
    crate::harness::signal(serve.id(), "TERM");
    serve.wait().unwrap();
    assert_eq!(stdout(&output), "configured\n", "{}", stderr(&output));
    assert!(stdout(&whoami).contains("admin@localhost"), "{}", stderr(&whoami));
    let config = home.path().join(".runvoy/config.yaml");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(config).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    until("the port is free", || !line.is_empty());
}
