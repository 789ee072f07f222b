use serde_json::{Value, json};

use super::ask::Ask;
use super::world::{World, messages};
use super::{Rule, row, scene};

pub(super) fn run(w: &World, body: Value) -> super::Told {
    w.ask(Ask::post("/run", body))
}

/// What a run writes, line by line.
pub(super) fn output(w: &World, body: Value) -> Vec<String> {
    let told = run(w, body);
    told.assert_status(202);
    let id = told.json()["execution_id"].as_str().unwrap().to_owned();
    w.until_ended(&id);
    messages(&w.logs(&id)["events"]).into_iter().map(str::to_owned).collect()
}

pub(super) const RULES: &[Rule] = &[
    row(
        "4.run.answer",
        |w| run(w, json!({"command": "make test"})),
        |told| {
            told.assert_status(202);
            let body = told.json();
            assert_eq!(
                (&body["status"], &body["command"], &body["log_url"]),
                (&json!("STARTING"), &json!("make test"), &json!(""))
            );
            assert!(body["image_id"].is_string() && body["execution_id"].is_string(), "{body}");
        },
    ),
    row(
        "4.run.websocket-url",
        |w| run(w, json!({"command": "true"})),
        |told| {
            let body = told.json();
            let (url, id) = (body["websocket_url"].as_str().unwrap(), body["execution_id"].as_str().unwrap());
            assert!(
                url.starts_with("ws://127.0.0.1:") && url.contains(&format!("?execution_id={id}&token=")),
                "{url}"
            );
        },
    ),
    scene("4.run.websocket-url.always", |w| {
        // Also where it waits, and where the same run is answered again.
        let live = w.live("");
        let lock = json!({"command": "true", "lock": "wire", "on_lock_held": "queue"});
        let holder = run(
            w,
            json!({"command": format!("while [ ! -e {} ]; do sleep 0.01; done", w.unique("go").display()), "lock": "wire"}),
        );
        holder.assert_status(202);
        let queued = run(w, lock).json();
        assert_eq!(queued["status"], "QUEUED", "{queued}");
        assert!(queued["websocket_url"].is_string(), "{queued}");
        let again = || {
            w.ask(Ask::post("/run", json!({"command": "true"})).header("Idempotency-Key", "wire-1")).json()
        };
        let first = again();
        w.until_ended(first["execution_id"].as_str().unwrap());
        let second = again();
        assert_eq!(first["execution_id"], second["execution_id"]);
        assert!(second["websocket_url"].is_string(), "{second}");
        w.ask(Ask::delete(format!("/executions/{}", holder.json()["execution_id"].as_str().unwrap())))
            .assert_status(200);
        live.release();
    }),
    scene("4.run.command", |w| {
        for body in [json!({}), json!({"command": ""}), json!({"command": null})] {
            run(w, body).assert_error(400, "INVALID_REQUEST");
        }
    }),
    scene("4.run.env", |w| {
        let lines = output(w, json!({"command": "echo $CI-$NAME", "env": {"CI": "1", "NAME": "a b"}}));
        assert_eq!(lines, ["1-a b"]);
        run(w, json!({"command": "true", "env": {"not a name": "1"}})).assert_error(400, "INVALID_REQUEST");
    }),
    scene("4.run.shell", |w| {
        let command = "echo \"$0\" $(( 1 + 1 )) | cat; echo \"$RUNVOY_COMMAND\"";
        let lines = output(w, json!({"command": command}));
        assert_eq!(lines, ["/bin/sh 2", command]);
    }),
    scene("4.run.timeout", |w| {
        run(w, json!({"command": "true", "timeout": 600})).assert_status(202);
        run(w, json!({"command": "true", "timeout": "10m"})).assert_error(400, "");
    }),
    scene("4.run.git", |w| {
        for url in [
            "git@example.test:a.git",
            "ssh://example.test/a.git",
            "file:///srv/a.git",
            "http://example.test/a.git",
            "a.git",
        ] {
            run(w, json!({"command": "true", "git_repo": url})).assert_error(400, "INVALID_REQUEST");
        }
        // A path or a ref without a repository says nothing.
        run(w, json!({"command": "true", "git_ref": "main", "git_path": "."})).assert_status(202);
    }),
    scene("4.run.dotenv", |w| {
        let command = "cat .env; stat -c %a .env";
        let lines = output(w, json!({"command": command, "env": {"B": "a b", "A": "1"}}));
        assert_eq!(lines, ["A=1", "B='a b'", "600"]);
        let without = output(w, json!({"command": "ls -A"}));
        assert_eq!(without, Vec::<String>::new());
    }),
    scene("3.ids", |w| {
        let told = run(w, json!({"command": "true"}));
        for id in [told.json()["execution_id"].as_str().unwrap(), told.header("x-request-id").unwrap()] {
            assert!(
                id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{id}"
            );
        }
    }),
    scene("3.exit", |w| {
        for (command, status, code) in
            [("true", "SUCCEEDED", 0), ("exit 7", "FAILED", 7), ("kill -9 $$", "FAILED", 137)]
        {
            let ended = w.until_ended(&w.run(command));
            assert_eq!(
                (&ended["status"], &ended["exit_code"]),
                (&json!(status), &json!(code)),
                "{command}: {ended}"
            );
        }
    }),
    scene("3.not-started", |w| {
        let told = run(w, json!({"args": ["/no/such/program"]}));
        let id = told.json()["execution_id"].as_str().unwrap().to_owned();
        let ended = w.until_ended(&id);
        assert_eq!(ended["status"], "FAILED", "{ended}");
        assert!(ended["exit_code"] == 1 || ended["exit_code"] == 127, "{ended}");
    }),
    scene("3.statuses", |w| {
        let told = run(w, json!({"command": "true"}));
        assert_eq!(told.json()["status"], "STARTING");
        let live = w.live("");
        assert_eq!(w.status(&live.id)["status"], "RUNNING");
        live.release();
        assert_eq!(w.until_ended(&live.id)["status"], "SUCCEEDED");
        // Nothing follows.
        w.ask(Ask::delete(format!("/executions/{}", live.id))).assert_status(204);
        assert_eq!(w.status(&live.id)["status"], "SUCCEEDED");
    }),
];

/// Where commands run in images.
pub(super) const WITH_ENGINE: &[Rule] = &[
    row(
        "4.run.image",
        |w| run(w, json!({"command": "true", "image": "nobody/registered:1"})),
        |told| {
            told.assert_error(400, "INVALID_REQUEST");
        },
    ),
    scene("4.run.no-image", |w| {
        let images = w.ask(Ask::get("/images")).json();
        let default =
            images["images"].as_array().unwrap().iter().find(|image| image["is_default"] == true).unwrap();
        let id = default["image_id"].as_str().unwrap();
        let told = run(w, json!({"command": "true"}));
        assert_eq!(told.json()["image_id"], id, "{told:?}");
        w.ask(Ask::delete(format!("/images/{id}"))).assert_status(200);
        run(w, json!({"command": "true"})).assert_error(400, "INVALID_REQUEST");
    }),
];

pub(super) const WITH_FORGE: &[Rule] = &[scene("4.run.git.checkout", |w| {
    let checkout = |more: Value| {
        let mut body =
            json!({"command": "cat which.txt; cat .env", "git_repo": w.repository, "env": {"A": "1"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        output(w, body)
    };
    assert_eq!(checkout(json!({})), ["main", "A=1"]);
    assert_eq!(checkout(json!({"git_ref": "v1.0", "git_path": "."})), ["v1.0", "A=1"]);
    assert_eq!(checkout(json!({"git_ref": "v1.0", "git_path": "live"})), ["live", "A=1"]);
})];
