use std::collections::HashSet;

use serde_json::json;

use super::ask::Ask;
use super::socket::said;
use super::world::messages;
use super::{Rule, scene};

pub(super) const RULES: &[Rule] = &[
    scene("4.logs.live", |w| {
        let live = w.live("");
        let (first, second) = (w.logs(&live.id), w.logs(&live.id));
        assert_eq!(
            (&first["status"], &first["execution_id"]),
            (&json!("RUNNING"), &json!(live.id)),
            "{first}"
        );
        assert!(first.as_object().unwrap().contains_key("events") && first["events"].is_null(), "{first}");
        assert_ne!(first["websocket_url"], second["websocket_url"], "a token of its own each");
        live.release();
    }),
    scene("4.logs.waiting", |w| {
        let go = w.unique("go");
        let hold = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
        let body = |command: &str| json!({"command": command, "lock": "line", "on_lock_held": "queue"});
        let holder = w.ask(Ask::post("/run", body(&hold))).json();
        let queued = w.ask(Ask::post("/run", body("true"))).json();
        let logs = w.logs(queued["execution_id"].as_str().unwrap());
        assert_eq!(logs["status"], "QUEUED", "{logs}");
        assert!(logs["events"].is_null() && logs["websocket_url"].is_string(), "{logs}");
        std::fs::write(&go, "").unwrap();
        w.until_ended(holder["execution_id"].as_str().unwrap());
    }),
    scene("4.logs.ended", |w| {
        let logs = w.logs(&w.ended);
        assert_eq!(
            (messages(&logs["events"]).as_slice(), &logs["status"]),
            (&["one", "two"][..], &json!("FAILED"))
        );
        assert!(logs.get("websocket_url").is_none(), "{logs}");
        let silent = w.run("true");
        w.until_ended(&silent);
        assert_eq!(w.logs(&silent)["events"], json!([]), "never null");
    }),
    scene("4.logs.events", |w| {
        let id = w.run("printf 'a\\n\\nb c\\n'; printf 'no newline'");
        w.until_ended(&id);
        let logs = w.logs(&id);
        assert_eq!(messages(&logs["events"]), ["a", "", "b c", "no newline"], "{logs}");
        let events = logs["events"].as_array().unwrap();
        assert!(events.iter().all(|event| event["timestamp"].is_i64()), "{logs}");
    }),
    scene("4.logs.order", |w| {
        let id = w.run("for n in $(seq 500); do echo $n; echo $n >&2; done");
        w.until_ended(&id);
        let logs = w.logs(&id);
        let times: Vec<_> =
            logs["events"].as_array().unwrap().iter().map(|it| it["timestamp"].as_i64()).collect();
        assert!(times.len() == 1000 && times.is_sorted(), "{}", times.len());
    }),
    scene("4.logs.first-call", |w| {
        // No client asks twice, so whatever it is in the moment has to be right.
        for _ in 0..10 {
            let id = w.run("echo said");
            let logs = w.logs(&id);
            let live = ["STARTING", "RUNNING"].iter().any(|status| logs["status"] == *status);
            assert_eq!(logs["websocket_url"].is_string(), live, "{logs}");
            assert_eq!(logs["events"].is_null(), live, "{logs}");
            if live {
                let (frames, _) =
                    super::socket::Socket::open(logs["websocket_url"].as_str().unwrap()).read_to_end();
                assert_eq!(said(&frames), ["said"]);
            }
        }
    }),
    scene("6.event-id.there", |w| {
        let events = w.logs(&w.ended)["events"].clone();
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        live.release();
        let (frames, _) = socket.read_to_end();
        for event in events.as_array().unwrap().iter().chain(&frames) {
            assert!(event["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{event}");
        }
    }),
    scene("6.event-id.unique", |w| {
        let mut seen = HashSet::new();
        for id in [&w.ended, &w.own] {
            for event in w.logs(id)["events"].as_array().unwrap() {
                assert!(seen.insert(event["event_id"].as_str().unwrap().to_owned()), "{event}");
            }
        }
    }),
];
