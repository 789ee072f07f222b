//! Images on the command line.

use serde_json::Value;

use crate::harness::{Server, stderr, stdout};

fn json(server: &Server, args: &[&str]) -> Value {
    let output = server.run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_image_is_registered_shown_changed_and_removed() {
    let server = Server::start();
    let empty = server.run(&["images", "list"]);
    assert_eq!((empty.status.code(), stdout(&empty).as_str()), (Some(0), ""));
    assert!(stderr(&empty).contains("runvoy images register"), "{}", stderr(&empty));

    let registered = server.run(&[
        "images",
        "register",
        "ghcr.io/org/tool:1",
        "--cpu",
        "512",
        "--memory",
        "1024",
        "--platform",
        "linux/arm64",
        "--user",
        "app",
        "--network",
        "build",
        "--read-only",
    ]);
    assert_eq!(registered.status.code(), Some(0), "{}", stderr(&registered));
    let id = stdout(&registered).trim().to_owned();
    assert!(id.starts_with("org/tool:1-"), "{id}");
    // As existing scripts write it.
    let second = server.run(&["images", "register", "golang:1.25", "--set-default"]);
    assert_eq!(second.status.code(), Some(0), "{}", stderr(&second));

    let shown = json(&server, &["images", "show", "org/tool:1", "-o", "json"]);
    assert_eq!((&shown["image_id"], &shown["is_default"]), (&Value::from(id.as_str()), &Value::from(false)));
    assert_eq!((&shown["cpu"], &shown["memory"]), (&Value::from(512), &Value::from(1024)));
    assert_eq!((&shown["user"], &shown["read_only"]), (&Value::from("app"), &Value::from(true)));
    let table = server.run(&["images", "show", &id]);
    for part in ["ghcr.io/org/tool:1", "1024 MiB", "linux/arm64", "build", "read-only"] {
        assert!(stdout(&table).contains(part), "{part}: {}", stdout(&table));
    }

    let changed = json(
        &server,
        &["images", "update", &id, "--set-default", "--user", "", "--read-only", "false", "-o", "json"],
    );
    assert_eq!((&changed["is_default"], &changed["user"]), (&Value::from(true), &Value::Null));
    let list = json(&server, &["images", "list", "-o", "json"]);
    let defaults: Vec<_> =
        list["images"].as_array().unwrap().iter().map(|image| &image["is_default"]).collect();
    assert_eq!(defaults, [&Value::from(false), &Value::from(true)]);
    assert!(stdout(&server.run(&["images", "list"])).contains(&id));

    assert_eq!(server.run(&["images", "unregister", &id]).status.code(), Some(0));
    for args in [["images", "show", &id], ["images", "unregister", &id]] {
        assert_eq!(server.run(&args).status.code(), Some(66), "{args:?}");
    }
    assert_eq!(server.run(&["images", "register", "Not A Name"]).status.code(), Some(65));
}

#[test]
fn an_image_is_removed_by_its_name_if_no_other_has_it() {
    let server = Server::start();
    let register = |image: &str, more: &[&str]| {
        let registered = server.run(&[&["images", "register", image], more].concat());
        assert_eq!(registered.status.code(), Some(0), "{}", stderr(&registered));
        stdout(&registered).trim().to_owned()
    };
    register("golang:1.25", &[]);
    let ids = [register("ghcr.io/org/tool:1", &[]), register("ghcr.io/org/tool:1", &["--cpu", "512"])];
    for name in ["ghcr.io/org/tool:1", "org/tool:1"] {
        let several = server.run(&["images", "unregister", name]);
        let said = stderr(&several);
        assert_eq!(several.status.code(), Some(2), "{said}");
        assert!(
            ids.iter().all(|id| said.contains(&format!("`{id}`"))) && said.lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(server.run(&["images", "unregister", &ids[0]]).status.code(), Some(0));
    let other = server.run(&["images", "unregister", "org/tool:1"]);
    assert_eq!(stderr(&other), format!("{} is not registered any more\n", ids[1]));
    let default = server.run(&["images", "unregister", "golang:1.25"]);
    assert_eq!(default.status.code(), Some(0), "{}", stderr(&default));
    assert!(stderr(&default).contains("there is no default image now"), "{}", stderr(&default));
    assert_eq!(stdout(&server.run(&["images", "list"])), "");
}

#[test]
fn an_image_is_still_there_when_the_server_was_killed() {
    let mut server = Server::start();
    assert_eq!(server.run(&["images", "register", "golang:1.25"]).status.code(), Some(0));
    let before = json(&server, &["images", "list", "-o", "json"]);
    server.crash();
    server.restart();
    assert_eq!(json(&server, &["images", "list", "-o", "json"]), before);
}
