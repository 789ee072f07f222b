//! What the data directory shows, and what it hides.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{KEY, Server, stderr, stdout, until};

/// Files below `dir` that hold `needle`.
pub(crate) fn holding(dir: &Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn variables_and_keys_are_nowhere_on_disk_but_in_the_commands_own_directory() {
    let server = Server::start();
    let go = server.dir.path().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    let run = server.run(&["run", "--detach", "-e", "TOKEN=find-me-if-you-can", "--", &wait]);
    let id = stdout(&run).trim().to_owned();
    until("it runs", || server.record(&id)["status"] == "RUNNING");
    let dotenv = server.data_dir().join("executions").join(&id[..2]).join(&id).join("work/.env");
    assert_eq!(holding(&server.data_dir(), b"find-me-if-you-can"), [dotenv]);
    assert_eq!(holding(&server.data_dir(), KEY.as_bytes()), Vec::<std::path::PathBuf>::new());
    std::fs::write(&go, "").unwrap();
    server.ended(&id);
    assert_eq!(holding(&server.data_dir(), b"find-me-if-you-can"), Vec::<std::path::PathBuf>::new());
    let rows = std::process::Command::new("sqlite3")
        .arg(server.data_dir().join("runvoy.db"))
        .arg(".dump")
        .output()
        .unwrap();
    assert!(rows.status.success(), "{}", stderr(&rows));
    assert!(stdout(&rows).contains(&id) && stdout(&rows).contains("SUCCEEDED"));
    assert!(!stdout(&rows).contains("find-me"));
}

#[test]
fn no_process_of_a_server_shows_the_preset_key() {
    let server = Server::start();
    let shown = |file: &str| {
        let bytes = std::fs::read(format!("/proc/{}/{file}", server.pid())).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (environment, line) = (shown("environ"), shown("cmdline"));
    assert!(environment.contains("OF_THE_ADMIN") && line.contains("--data-dir"), "{environment} {line}");
    assert!(!environment.contains(KEY) && !line.contains(KEY), "{environment} {line}");
}

#[test]
fn a_preset_key_may_be_any_text() {
    let key = "ein Schlüssel mit 24 Zeichen";
    let home = tempfile::tempdir().unwrap();
    let mut serve = crate::harness::runvoy(home.path());
    serve.args(["local", "serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let mut child = serve
        .env("RUNVOY_ADMIN_API_KEY", key)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut endpoint = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut endpoint)
        .unwrap();
    let who = crate::harness::runvoy(home.path())
        .env("RUNVOY_API_ENDPOINT", endpoint.trim())
        .env("RUNVOY_API_KEY", key)
        .arg("whoami")
        .output()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(who.status.code(), Some(0), "{}", stderr(&who));
}

#[test]
fn only_the_owner_may_look() {
    let server = Server::start();
    server.detach("true");
    for name in ["", "runvoy.db", "master.key", "executions"] {
        let mode = std::fs::metadata(server.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn records_are_listed_and_shown() {
    let server = Server::start();
    let id = server.detach("exit 3");
    server.ended(&id);
    let list = stdout(&server.run(&["list"]));
    assert!(list.contains(&id[..8]) && list.contains("FAILED"), "{list}");
    assert_eq!(server.record(&id[..8])["execution_id"], id.as_str());
    let health: serde_json::Value =
        serde_json::from_slice(&server.run(&["health", "-o", "json"]).stdout).unwrap();
    assert_eq!((&health["status"], &health["provider"]), (&"ok".into(), &"LOCAL".into()));
    let me: serde_json::Value =
        serde_json::from_slice(&server.run(&["whoami", "-o", "json"]).stdout).unwrap();
    assert_eq!((&me["email"], &me["role"]), (&"admin@localhost".into(), &"admin".into()));
}
