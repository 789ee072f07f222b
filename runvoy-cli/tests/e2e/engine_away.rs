//! What was accepted for containers, where the next server has no engine.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::docker::{docker, engine};
use crate::harness::{Server, stdout, until};

/// The way to the real engine, which can be taken away.
struct Way {
    host: String,
    socket: PathBuf,
    dir: tempfile::TempDir,
}

impl Way {
    fn new() -> Option<Self> {
        let host = engine()?;
        let socket = PathBuf::from(host.strip_prefix("unix://")?);
        let way = Self { host, socket, dir: tempfile::tempdir().unwrap() };
        way.open();
        Some(way)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    fn open(&self) {
        symlink(&self.socket, self.path()).unwrap();
    }

    fn close(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    fn server(&self) -> Server {
        Server::with_engine(format!("unix://{}", self.path().display()))
    }
}

#[test]
fn what_was_accepted_for_a_container_does_not_run_beside_the_server() {
    let Some(way) = Way::new() else { return };
    let mut server = way.server();
    // A registry that takes calls and answers none: its image is never there.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/silent", registry.local_addr().unwrap().port());
    server.register(&image);
    let marker = server.dir.path().join("ran");
    let command = format!("touch {}", marker.display());
    let detached = server.run(&["run", "--detach", "-i", &image, "--", &command]);
    let id = stdout(&detached).trim().to_owned();
    server.crash();
    server.without_engine();
    server.restart();
    let record = server.ended(&id);
    assert_eq!(record["status_reason"], "image_unavailable", "{record}");
    assert!(record["status_detail"].as_str().unwrap().contains("--executor docker"), "{record}");
    assert!(!marker.exists(), "it ran on this machine");
}

#[test]
fn what_was_accepted_for_containers_waits_for_an_engine_that_is_away_when_the_server_starts() {
    let Some(way) = Way::new() else { return };
    let mut server = way.server();
    let holder = server.run(&["run", "--detach", "--lock", "prod", "--", "echo begun; exec sleep 600"]);
    let holder = stdout(&holder).trim().to_owned();
    let waiter = ["run", "--detach", "--lock", "prod", "--wait", "--", "cat /etc/hostname | wc -c"];
    let waiter = stdout(&server.run(&waiter)).trim().to_owned();
    until("the holder begins", || stdout(&server.run(&["logs", &holder])).contains("begun"));
    server.crash();
    way.close();
    docker(&way.host, &["kill", &format!("runvoy-{holder}")]);
    server.restart();
    assert!(server.log().contains("they wait until the engine is there"), "{}", server.log());
    let refused = server.ask("POST", "/run", r#"{"command":"true"}"#);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("Docker engine"), "{refused:?}");
    for (id, status) in [(&holder, "RUNNING"), (&waiter, "QUEUED")] {
        assert_eq!(server.record(id)["status"], status);
    }
    way.open();
    assert_eq!(server.ended(&holder)["status"], "FAILED");
    assert_eq!(server.ended(&waiter)["status"], "SUCCEEDED");
    assert_eq!(stdout(&server.run(&["logs", &waiter])), "13\n", "it ran in a container");
}
