//! What the web app of 0.5 does in a browser: its preflights, its parallel questions, and what it keeps of a page view.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::ask::{Ask, Told};
use super::socket::{Socket, said};
use super::world::{PAGE, World};
use super::{Rule, scene};
use crate::harness::KEY;

/// A `fetch` with a key: asked about beforehand, and its answer kept from the page unless the page may see it.
fn fetch(w: &World, ask: Ask) -> Told {
    let path = ask.path.strip_prefix("/api/v1").unwrap().to_owned();
    let before = Ask::new("OPTIONS", path)
        .header("Origin", PAGE)
        .header("Access-Control-Request-Method", ask.method)
        .header("Access-Control-Request-Headers", "content-type,x-api-key");
    let allows = w.send(&before);
    assert!((200..300).contains(&allows.status), "{allows:?}");
    let has = |name: &str, word: &str| {
        let words = allows.header(name).unwrap_or_default().to_lowercase();
        words.split(", ").any(|it| it == word.to_lowercase())
    };
    assert!(
        has("access-control-allow-methods", ask.method) && has("access-control-allow-headers", "x-api-key")
    );
    assert!(has("access-control-allow-headers", "content-type") && has("access-control-allow-origin", PAGE));
    let told = w.send(&ask.header("Origin", PAGE).key(KEY));
    assert_eq!(told.header("access-control-allow-origin"), Some(PAGE), "{told:?}");
    told
}

/// What the log page asks for, both at once: neither may fail.
fn open(w: &World, id: &str) -> (Value, Value) {
    std::thread::scope(|scope| {
        let address = w.address();
        let ask = |rest: &str| {
            let ask = Ask::get(format!("/executions/{id}/{rest}")).header("Origin", PAGE).key(KEY);
            scope.spawn(move || ask.send(address))
        };
        let (status, logs) = (ask("status"), ask("logs"));
        let (status, logs) = (status.join().unwrap(), logs.join().unwrap());
        status.assert_status(200);
        logs.assert_status(200);
        (status.json(), logs.json())
    })
}

/// A socket of that page.
fn connect(logs: &Value) -> Socket {
    let url = logs["websocket_url"].as_str().unwrap_or_else(|| panic!("taken for finished: {logs}"));
    Socket::open_with(url, &[("origin", PAGE)]).unwrap()
}

/// The rendered lines of a page view, by their keys; fails where the list would freeze.
fn render(view: &mut HashSet<String>, frames: &[Value]) {
    for frame in frames {
        let key = frame["event_id"].as_str().filter(|id| !id.is_empty()).expect("an id");
        assert!(view.insert(key.to_owned()), "the same key twice: {frame}");
    }
}

pub(super) const RULES: &[Rule] = &[
    scene("8.run", |w| {
        let run = fetch(
            w,
            Ask::post("/run", json!({"command": "echo one; echo two"}))
                .header("Content-Type", "application/json"),
        );
        run.assert_status(202);
        let id = run.json()["execution_id"].as_str().unwrap().to_owned();
        let (status, logs) = open(w, &id);
        assert_eq!(status["execution_id"], id.as_str());
        if logs["websocket_url"].is_string() {
            assert_eq!(said(&connect(&logs).read_to_end().0), ["one", "two"]);
        } else {
            assert_eq!(logs["events"].as_array().unwrap().len(), 2, "{logs}");
        }
    }),
    scene("8.end", |w| {
        let live = w.live("");
        let mut socket = connect(&open(w, &live.id).1);
        live.release();
        socket.read_to_end();
        let status = fetch(w, Ask::get(format!("/executions/{}/status", live.id)));
        assert_eq!((&status.json()["status"], &status.json()["exit_code"]), (&json!("SUCCEEDED"), &json!(0)));
        socket.send_close(1000, "Execution completed");
        assert_eq!(socket.ends_with().0, 1000);
    }),
    scene("8.pause", |w| {
        let live = w.live("");
        let mut view = HashSet::new();
        for _ in 0..3 {
            // Resumed with no cursor: everything comes again, under other names.
            let mut socket = connect(&open(w, &live.id).1);
            render(&mut view, &socket.until("begun"));
            socket.send_close(1000, "User disconnected");
            assert_eq!(socket.ends_with().0, 1000);
        }
        let mut socket = connect(&open(w, &live.id).1);
        live.release();
        render(&mut view, &socket.read_to_end().0);
        // And with the log that it is shown once it has ended.
        let (_, logs) = open(w, &live.id);
        render(&mut view, logs["events"].as_array().unwrap());
    }),
    scene("8.two-executions", |w| {
        // One cache for all that is ever shown.
        let mut view = HashSet::new();
        for id in [&w.ended, &w.own] {
            let (_, logs) = open(w, id);
            render(&mut view, logs["events"].as_array().unwrap());
        }
    }),
    scene("8.finished", |w| {
        let (status, logs) = open(w, &w.ended);
        assert_eq!((&status["status"], &status["exit_code"]), (&json!("FAILED"), &json!(7)));
        assert!(logs["events"].is_array() && logs.get("websocket_url").is_none(), "{logs}");
    }),
    scene("8.list", |w| {
        let told = fetch(w, Ask::get("/executions"));
        let listed = told.json();
        assert!(
            listed.as_array().unwrap().iter().all(|it| it["execution_id"].as_str().unwrap().len() >= 8),
            "{told:?}"
        );
    }),
    scene("8.kill", |w| {
        let live = w.live("");
        let told = fetch(w, Ask::delete(format!("/executions/{}", live.id)));
        assert!(told.json()["message"].is_string(), "{told:?}");
        w.until_ended(&live.id);
    }),
    scene("8.claim", |w| {
        let made =
            w.ask(Ask::post("/users/create", json!({"email": "web@acme.test", "role": "viewer"}))).json();
        // No key, no preflight.
        let claim =
            Ask::get(format!("/claim/{}", made["claim_token"].as_str().unwrap())).header("Origin", PAGE);
        let told = w.send(&claim);
        assert_eq!(told.header("access-control-allow-origin"), Some(PAGE));
        assert!(
            told.json()["api_key"].is_string() && told.json()["user_email"] == "web@acme.test",
            "{told:?}"
        );
    }),
    scene("8.error", |w| {
        let told = fetch(w, Ask::post("/run", json!({"command": ""})));
        told.assert_error(400, "INVALID_REQUEST");
        let refused =
            w.send(&Ask::get("/executions").header("Origin", PAGE).key("an-unknown-key-of-24-characters"));
        refused.assert_error(401, "INVALID_API_KEY");
        assert_eq!(refused.header("access-control-allow-origin"), Some(PAGE), "the page can read why");
    }),
];
