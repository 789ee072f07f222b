use std::collections::HashSet;

use serde_json::{Value, json};

use super::ask::Ask;
use super::socket::{Socket, said};
use super::world::World;
use super::{Rule, scene};
use crate::harness::KEY;

/// Fails unless the address is refused like that, before there is a socket.
fn assert_refused(url: &str, status: u16, code: &str) {
    match Socket::open_with(url, &[]) {
        Ok(_) => panic!("{url} was opened"),
        Err(told) => told.assert_error(status, code),
    }
}

/// The parts of an address: what stands before the token, and that.
fn parts(url: &str) -> (&str, &str) {
    url.split_once("&token=").unwrap()
}

/// A token of an execution that has ended.
fn token_of_ended(w: &World) -> (String, String) {
    let body = json!({"command": "echo one; echo two"});
    let told = w.ask(Ask::post("/run", body)).json();
    w.until_ended(told["execution_id"].as_str().unwrap());
    (told["execution_id"].as_str().unwrap().to_owned(), told["websocket_url"].as_str().unwrap().to_owned())
}

pub(super) const RULES: &[Rule] = &[
    scene("6.open", |w| {
        // As it is, without a key and without a protocol.
        let live = w.live("");
        let mut socket = Socket::open(&w.url(&live.id));
        socket.until("begun");
        live.release();
        socket.read_to_end();
    }),
    scene("6.origin", |w| {
        for origin in ["https://app.acme.test", "http://localhost:5173", "https://evil.test", "null"] {
            let live = w.live("");
            let mut socket = Socket::open_with(&w.url(&live.id), &[("origin", origin)]).unwrap();
            live.release();
            assert_eq!(said(&socket.read_to_end().0), ["begun", "over"], "{origin}");
        }
    }),
    scene("3.stream-token", |w| {
        let url = w.url(&w.live("").id);
        let token = parts(&url).1;
        assert!(
            token.len() >= 32 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{token}"
        );
    }),
    scene("6.token.reused", |w| {
        let live = w.live("");
        let url = w.url(&live.id);
        let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(&url)).collect();
        live.release();
        for socket in &mut sockets {
            assert_eq!(said(&socket.read_to_end().0), ["begun", "over"]);
        }
        assert_eq!(said(&Socket::open(&url).read_to_end().0), ["begun", "over"], "also after the end");
    }),
    scene("6.token.restart", |_| {
        let mut world = World::new();
        let (_, url) = token_of_ended(&world);
        world.server.crash();
        world.server.restart();
        assert_eq!(said(&Socket::open(&url).read_to_end().0), ["one", "two"]);
    }),
    scene("6.token.unseen", |w| {
        let (_, url) = token_of_ended(w);
        Socket::open(&url).read_to_end();
        let token = parts(&url).1;
        assert!(!w.server.log().contains(token), "{}", w.server.log());
        let found = crate::state::holding(w.server.dir.path(), token.as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }),
    scene("6.refused.no-execution", |w| {
        let (_, url) = token_of_ended(w);
        let (base, token) = (url.split('?').next().unwrap(), parts(&url).1);
        assert_refused(&format!("{base}?token={token}"), 400, "invalid_request");
        assert_refused(&format!("{base}?execution_id=&token={token}"), 400, "invalid_request");
    }),
    scene("6.refused.no-token", |w| {
        let (_, url) = token_of_ended(w);
        assert_refused(parts(&url).0, 401, "");
        assert_refused(&format!("{}&token=", parts(&url).0), 401, "");
    }),
    scene("6.refused.unknown-token", |w| {
        let (_, url) = token_of_ended(w);
        for token in ["VGs0c2FtcGxlLXRva2VuLTAwMDAwMDAwMDAw", KEY, "x"] {
            assert_refused(&format!("{}&token={token}", parts(&url).0), 401, "INVALID_STREAM_TOKEN");
        }
    }),
    scene("6.refused.other-token", |w| {
        let ((_, one), (_, other)) = (token_of_ended(w), token_of_ended(w));
        assert_refused(&format!("{}&token={}", parts(&one).0, parts(&other).1), 403, "");
    }),
    scene("6.refused.revoked", |w| {
        let made = w
            .ask(Ask::post("/users/create", json!({"email": "reader@acme.test", "role": "operator"})))
            .json();
        let key =
            w.send(&Ask::get(format!("/claim/{}", made["claim_token"].as_str().unwrap()))).json()["api_key"]
                .clone();
        let live = w.live("");
        let logs = Ask::get(format!("/executions/{}/logs", live.id)).key(key.as_str().unwrap());
        let url = w.send(&logs).json()["websocket_url"].as_str().unwrap().to_owned();
        let mut socket = Socket::open(&url);
        socket.until("begun");
        w.ask(Ask::post("/users/revoke", json!({"email": "reader@acme.test"}))).assert_status(200);
        assert_eq!(socket.ends_with().0, 1008, "what is open ends with the key");
        assert_refused(&url, 401, "API_KEY_REVOKED");
        live.release();
    }),
    scene("6.refused.plain", |w| {
        let (_, url) = token_of_ended(w);
        let path = url.split_once("/api/v1").unwrap().1;
        let told = w.send(&Ask::get(path));
        told.assert_error(426, "UPGRADE_REQUIRED");
        assert_eq!(told.header("upgrade"), Some("websocket"));
    }),
    scene("6.frames", |w| {
        let live = w.live("printf '\\377 no text\\n';");
        let mut socket = w.follow(&live.id);
        live.release();
        let (frames, disconnect) = socket.read_to_end();
        for frame in &frames {
            assert!(frame["timestamp"].is_i64() && frame["message"].is_string(), "{frame}");
            assert!(
                frame["event_id"].is_string() && frame.get("type").is_none_or(|kind| kind == "log"),
                "{frame}"
            );
        }
        assert_eq!(said(&frames), ["begun", "\u{fffd} no text", "over"]);
        assert_eq!(
            (&disconnect["type"], &disconnect["reason"]),
            (&json!("disconnect"), &json!("execution_completed"))
        );
    }),
    scene("6.replay", |w| {
        // Whoever comes early, in the middle of much, or late gets every line once.
        let id = w.run("for n in $(seq 3000); do echo $n; done");
        let expected: Vec<_> = (1..=3000).map(|n| n.to_string()).collect();
        let url = w.ask(Ask::get(format!("/executions/{id}/logs"))).json()["websocket_url"].clone();
        let early = url.as_str().map(|url| Socket::open(url).read_to_end().0);
        if let Some(frames) = &early {
            assert_eq!(said(frames), expected);
        }
        let live = w.live("for n in $(seq 3000); do echo $n; done;");
        let mut sockets: Vec<_> = (0..4).map(|_| w.follow(&live.id)).collect();
        live.release();
        for socket in &mut sockets {
            let (frames, _) = socket.read_to_end();
            assert_eq!(said(&frames)[1..=3000], expected);
            assert_eq!(frames.len(), 3002);
        }
    }),
    scene("6.replay.ended", |w| {
        let (_, url) = token_of_ended(w);
        let (frames, disconnect) = Socket::open(&url).read_to_end();
        assert_eq!(said(&frames), ["one", "two"]);
        assert_eq!(disconnect["type"], "disconnect");
    }),
    scene("6.last-event", |w| {
        let (id, url) = token_of_ended(w);
        let (frames, _) = Socket::open(&url).read_to_end();
        let resume = |event: &Value| {
            Socket::open(&format!("{url}&last_event_id={}", event.as_str().unwrap())).read_to_end().0
        };
        assert_eq!(said(&resume(&frames[0]["event_id"])), ["two"], "as a frame had it");
        assert_eq!(said(&resume(&w.logs(&id)["events"][0]["event_id"])), ["two"], "as `/logs` has it");
        assert!(resume(&frames[1]["event_id"]).is_empty());
        for other in ["nonsense", w.ended.as_str()] {
            assert_refused(&format!("{url}&last_event_id={other}"), 400, "invalid_request");
        }
    }),
    scene("6.event-id.connection", |w| {
        let (_, url) = token_of_ended(w);
        let mut seen = HashSet::new();
        for _ in 0..3 {
            for frame in Socket::open(&url).read_to_end().0 {
                assert!(seen.insert(frame["event_id"].as_str().unwrap().to_owned()), "{frame}");
            }
        }
    }),
    scene("6.waiting", |w| {
        let go = w.unique("go");
        let hold = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
        let body = |command: &str| json!({"command": command, "lock": "turn", "on_lock_held": "queue"});
        w.ask(Ask::post("/run", body(&hold))).assert_status(202);
        let queued = w.ask(Ask::post("/run", body("echo my turn"))).json();
        assert_eq!(queued["status"], "QUEUED");
        let mut socket = Socket::open(queued["websocket_url"].as_str().unwrap());
        std::fs::write(&go, "").unwrap();
        assert_eq!(said(&socket.read_to_end().0), ["my turn"]);
    }),
    scene("6.masked", |w| {
        // A frame has what `/logs` has, which the agent masked before it was stored.
        let value = "opensesame-opensesame";
        let secret = json!({"name": "told", "key_name": "WIRE_TOKEN", "value": value});
        w.ask(Ask::post("/secrets", secret)).assert_status(201);
        let body = json!({"command": "echo one; echo \"it is $WIRE_TOKEN\"", "secrets": ["told"]});
        let told = w.ask(Ask::post("/run", body)).json();
        let id = told["execution_id"].as_str().unwrap();
        let read = || Socket::open(told["websocket_url"].as_str().unwrap()).read_to_end().0;
        let (frames, late) = (read(), read());
        assert_eq!(said(&frames), ["one", "it is ***"]);
        assert_eq!(said(&late), said(&frames));
        let logs = w.logs(id);
        let events = logs["events"].as_array().unwrap();
        assert_eq!(events.len(), frames.len());
        for (frame, event) in frames.iter().zip(events) {
            assert_eq!((&frame["message"], &frame["timestamp"]), (&event["message"], &event["timestamp"]));
        }
    }),
];
