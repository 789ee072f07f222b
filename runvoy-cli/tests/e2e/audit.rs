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
        UPDATE audit_events SET event = replace(event, 'bootstrap', 'Bootstrap') WHERE seq = 1;";
    let sqlite = std::process::Command::new("sqlite3")
        .arg(server.data_dir().join("runvoy.db"))
        .arg(attack)
        .status()
        .unwrap();
    assert!(sqlite.success());
    let broken = server.run(&["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(65));
    assert!(stderr(&broken).contains("record 1 was changed"), "{}", stderr(&broken));
}
