use serde_json::{Value, json};

use super::ask::Ask;
use super::world::World;
use super::{Rule, row, scene};
use crate::harness::until;

fn list(w: &World, query: &str) -> Vec<Value> {
    w.ask(Ask::get(format!("/executions{query}"))).json().as_array().unwrap().clone()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|it| it["execution_id"].as_str().unwrap()).collect()
}

pub(super) const RULES: &[Rule] = &[
    scene("4.list.order", |w| {
        let (first, second) = (w.run("true"), w.run("true"));
        let listed = list(w, "");
        assert_eq!(ids(&listed)[..2], [second, first]);
    }),
    scene("4.list.limit", |w| {
        for _ in 0..12 {
            w.run("true");
        }
        assert_eq!(list(w, "").len(), 10);
        assert_eq!(list(w, "?limit=3").len(), 3);
        let all = list(w, "?limit=0");
        assert!(all.len() >= 14, "{}", all.len());
        assert!(ids(&all).contains(&w.ended.as_str()));
        for limit in ["-1", "ten", "1.5"] {
            w.ask(Ask::get(format!("/executions?limit={limit}"))).assert_error(400, "invalid_request");
        }
    }),
    scene("4.list.status", |w| {
        let live = w.live("");
        let running = list(w, "?limit=0&status=RUNNING");
        assert!(
            ids(&running).contains(&live.id.as_str()) && running.iter().all(|it| it["status"] == "RUNNING")
        );
        let some = list(w, "?limit=0&status=%20FAILED%20,%20SUCCEEDED");
        assert!(ids(&some).contains(&w.ended.as_str()) && ids(&some).contains(&w.own.as_str()));
        assert!(!ids(&some).contains(&live.id.as_str()));
        for none in ["running", "UNKNOWN", "RUN"] {
            assert_eq!(w.ask(Ask::get(format!("/executions?status={none}"))).body, "[]");
        }
        live.release();
        w.until_ended(&live.id);
    }),
    row(
        "4.list.empty",
        |w| w.ask(Ask::get("/executions?limit=0&status=NONE")),
        |told| assert_eq!(told.body, "[]"),
    ),
    scene("4.list.fields", |w| {
        let of = |id: &str| list(w, "?limit=0").into_iter().find(|it| it["execution_id"] == id).unwrap();
        let ended = of(&w.ended);
        assert_eq!(
            (&ended["exit_code"], &ended["status"], &ended["cloud"]),
            (&json!(7), &json!("FAILED"), &json!("LOCAL"))
        );
        assert_eq!(
            (&ended["created_by"], &ended["owned_by"][0]),
            (&json!("admin@localhost"), &json!("admin@localhost"))
        );
        for field in [
            "command",
            "image_id",
            "started_at",
            "completed_at",
            "created_by_request_id",
            "modified_by_request_id",
        ] {
            assert!(ended[field].is_string(), "{field}: {ended}");
        }
        let live = w.live("");
        let running = of(&live.id);
        assert!(
            running.get("completed_at").is_none() && running.get("duration_seconds").is_none(),
            "{running}"
        );
        assert_eq!(running["exit_code"], 0);
        live.release();
        w.until_ended(&live.id);
        let took = of(&live.id)["duration_seconds"].clone();
        assert!(took.is_null() || took.as_u64() > Some(0), "{took}");
    }),
    scene("4.status", |w| {
        let live = w.live("");
        let running = w.status(&live.id);
        assert!(running.get("completed_at").is_none(), "{running}");
        assert!(
            running.as_object().unwrap().contains_key("exit_code") && running["exit_code"].is_null(),
            "{running}"
        );
        for field in ["execution_id", "status", "command", "image_id", "started_at"] {
            assert!(running[field].is_string(), "{field}: {running}");
        }
        live.release();
        let ended = w.until_ended(&live.id);
        assert_eq!(ended["exit_code"], 0);
        assert!(ended["completed_at"].is_string(), "{ended}");
    }),
    scene("4.kill.live", |w| {
        let live = w.live("trap '' TERM;");
        let path = format!("/executions/{}", live.id);
        let told = w.ask(Ask::delete(&path));
        told.assert_status(200);
        assert_eq!(
            told.json(),
            json!({"execution_id": live.id, "message": "Execution termination initiated"})
        );
        assert_eq!(w.status(&live.id)["status"], "TERMINATING");
        // Again, while it is being stopped.
        let again = w.ask(Ask::delete(&path));
        again.assert_status(204);
        assert_eq!(again.body, "");
        live.release();
        w.until_ended(&live.id);
    }),
    scene("4.kill.stopped", |w| {
        let live = w.live("");
        w.ask(Ask::delete(format!("/executions/{}", live.id))).assert_status(200);
        until("it has stopped", || w.status(&live.id)["status"] == "STOPPED");
        // 128 and the signal that ended it.
        assert_eq!(w.status(&live.id)["exit_code"], 143);
    }),
    row(
        "4.kill.over",
        |w| w.ask(Ask::delete(format!("/executions/{}", w.ended))),
        |told| {
            told.assert_status(204);
            assert_eq!((told.body.as_str(), told.header("content-type")), ("", None));
        },
    ),
    row(
        "4.kill.unknown",
        |w| w.ask(Ask::delete("/executions/0123456789abcdef0123456789abcdef")),
        |told| {
            told.assert_error(404, "NOT_FOUND");
        },
    ),
    scene("3.terminating", |w| {
        let live = w.live("trap '' TERM;");
        w.ask(Ask::delete(format!("/executions/{}", live.id))).assert_status(200);
        let logs = w.logs(&live.id);
        assert_eq!(logs["status"], "TERMINATING", "{logs}");
        assert!(logs["events"].is_array() && logs.get("websocket_url").is_none(), "{logs}");
        w.ask(Ask::delete(format!("/executions/{}", live.id))).assert_status(204);
        live.release();
        w.until_ended(&live.id);
    }),
];
