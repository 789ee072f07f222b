//! The audit log of a real server.

use crate::harness::{Server, stderr, stdout};

#[test]
fn a_changed_record_is_told_by_the_command() {
    let server = Server::start();
    server.run(&["run", "--", "true"]);
    let head = stdout(&server.run(&["audit", "head"]));
    let kept = server.dir.path().join("head.json");
    std::fs::write(&kept, head).unwrap();
    server.run(&["run", "--", "true"]);
    let whole = server.run(&["audit", "verify", "--head", kept.to_str().unwrap()]);
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    let shown = server.run(&["audit", "--action", "bootstrap_admin"]);
    assert!(stdout(&shown).contains("bootstrap_admin"), "{}", stdout(&shown));
    let attack = "DROP TRIGGER audit_events_are_not_changed;
        UPDATE audit_events SET event = event || ' ' WHERE seq = 1;";
    // The server may be writing.
    let sqlite = std::process::Command::new("sqlite3")
        .args(["-cmd", ".timeout 10000"])
        .arg(server.data_dir().join("runvoy.db"))
        .arg(attack)
        .status()
        .unwrap();
    assert!(sqlite.success());
    let broken = server.run(&["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(65));
    assert!(stderr(&broken).contains("record 1 was changed"), "{}", stderr(&broken));
}

/// The commands that OPERATIONS.md gives for a lost key.
fn remedy() -> &'static str {
    let operations = include_str!("../../../docs/OPERATIONS.md");
    let (_, section) = operations.split_once("### A lost master key").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0
}

#[test]
fn a_lost_master_key_is_replaced_and_anchors_the_log_anew() {
    let mut server = Server::start();
    let kept = server.dir.path().join("head.json");
    std::fs::write(&kept, stdout(&server.run(&["audit", "head", "-o", "json"]))).unwrap();
    let go_on = server.dir.path().join("go-on");
    let id = server.detach(&format!("until test -e {}; do sleep 0.05; done", go_on.display()));
    assert!(server.terminate().success());
    let mut sh = std::process::Command::new("sh");
    assert!(sh.args(["-ec", remedy()]).env("data", server.data_dir()).status().unwrap().success());
    server.restart();
    std::fs::write(&go_on, "").unwrap();
    assert_eq!(server.ended(&id)["status"], "SUCCEEDED", "what runs goes on");
    let before = server.run(&["audit", "verify", "--head", kept.to_str().unwrap()]);
    assert_eq!(before.status.code(), Some(65), "{}", stdout(&before));
    assert!(stdout(&before).contains("is in the log, and all before it"), "{}", stdout(&before));
    assert!(stderr(&before).contains("made with another master key"), "{}", stderr(&before));
    server.run(&["audit", "head"]);
    let after = server.run(&["audit", "verify"]);
    assert_eq!(after.status.code(), Some(0), "{}", stderr(&after));
    assert!(stderr(&after).contains("were left out"), "{}", stderr(&after));
    assert!(stdout(&after).contains("records not anchored:      0"), "{}", stdout(&after));
}
