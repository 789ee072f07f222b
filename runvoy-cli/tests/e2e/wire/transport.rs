use serde_json::json;

use super::ask::Ask;
use super::{Rule, row, scene};
use crate::harness::KEY;

const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";

pub(super) const RULES: &[Rule] = &[
    row("1.base", |w| w.send(&Ask::get("/health")), |told| told.assert_status(200)),
    scene("1.prefix", |w| {
        let logs = Ask::get(format!("/executions/{}/logs", w.live("").id));
        let forwarded = logs.header("X-Forwarded-Prefix", "/tools").header("X-Forwarded-Proto", "https");
        let told = w.ask(forwarded.header("X-Forwarded-Host", "runvoy.acme.test"));
        let url = told.json()["websocket_url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("wss://runvoy.acme.test/tools/api/v1/ws?"), "{url}");
    }),
    scene("1.key", |w| {
        w.send(&Ask::get("/me").header("x-api-key", KEY)).assert_status(200);
        w.send(&Ask::get("/me").header("X-Api-Key", KEY)).assert_status(200);
        w.send(&Ask::get("/me").header("Authorization", format!("Bearer {KEY}"))).assert_error(401, "");
        w.send(&Ask::get(format!("/me?api_key={KEY}"))).assert_error(401, "");
        assert_eq!(w.ask(Ask::get("/me")).header("set-cookie"), None);
    }),
    scene("1.key.always", |w| {
        for key in ["", KEY] {
            let health = Ask::get("/health").key(key).header("Content-Type", "application/json");
            w.send(&health).assert_status(200);
            let claim = Ask::get("/claim/nothing").key(key).header("Content-Type", "application/json");
            w.send(&claim).assert_error(404, "NOT_FOUND");
        }
        w.send(&Ask::get("/me").key("")).assert_error(401, "");
        w.ask(Ask::get("/executions").header("Content-Type", "application/json")).assert_status(200);
    }),
    scene("1.json", |w| {
        for path in [
            "/health",
            "/me",
            "/executions",
            "/executions?limit=0",
            "/users/",
            "/images",
            "/secrets",
            "/trace/x",
        ] {
            let told = w.ask(Ask::get(path));
            assert_eq!(told.header("content-type"), Some("application/json"), "{path}: {told:?}");
        }
        let logs = w.ask(Ask::get(format!("/executions/{}/logs", w.ended)));
        assert_eq!(logs.header("content-type"), Some("application/json"), "{logs:?}");
    }),
    row(
        "1.unknown-fields",
        |w| w.ask(Ask::post("/run", json!({"command": "true", "of_tomorrow": {"a": [1]}}))),
        |told| told.assert_status(202),
    ),
    scene("1.absent-fields", |w| {
        let nothing =
            json!({"command": "true", "env": null, "secrets": null, "image": null, "git_repo": null});
        w.ask(Ask::post("/run", nothing)).assert_status(202);
        let empty = json!({"command": "true", "env": {}, "secrets": [], "git_repo": "", "image": ""});
        w.ask(Ask::post("/run", empty)).assert_status(202);
    }),
    row(
        "1.after-json",
        |w| w.ask(Ask::post("/run", r#"{"command":"true"}  {"and": "more"}"#)),
        |told| told.assert_status(202),
    ),
    scene("1.slash", |w| {
        for root in ["/users", "/images", "/executions"] {
            for path in [root.to_owned(), format!("{root}/")] {
                w.ask(Ask::get(&path)).assert_status(200);
                w.send(&Ask::get(&path)).assert_error(401, "");
                let viewers = if root == "/executions" { 200 } else { 403 };
                w.ask_as("viewer", Ask::get(&path)).assert_status(viewers);
            }
        }
    }),
    scene("1.order", |w| {
        w.send(&Ask::new("PATCH", "/run").body("{")).assert_error(405, "METHOD_NOT_ALLOWED");
        w.send(&Ask::post("/run", "{")).assert_error(401, "");
        w.ask_as("viewer", Ask::post("/run", "{")).assert_error(403, "");
        w.ask_as("developer", Ask::post("/run", "{")).assert_error(400, "");
        let theirs = format!("/executions/{}", w.ended);
        for path in [&theirs, "/executions/000000", "/executions/no-id"] {
            w.ask_as("viewer", Ask::delete(path).body("{")).assert_error(403, "");
            w.ask_as("operator", Ask::delete(path).body("{")).assert_error(400, "");
        }
        w.ask_as("viewer", Ask::get(theirs + "/logs?limit=x")).assert_error(403, "");
        for ask in [Ask::post("/secrets", "{"), Ask::new("PUT", "/secrets/none").body("{")] {
            w.ask_as("viewer", ask.clone()).assert_error(403, "");
        }
        w.ask_as("developer", Ask::post("/secrets", "{")).assert_error(400, "");
        // What is no text is no name, and it comes after the role as a query does.
        w.ask_as("viewer", Ask::get("/secrets/%FF")).assert_error(403, "");
        w.ask_as("operator", Ask::get("/secrets/%FF")).assert_error(400, "INVALID_REQUEST");
        w.ask_as("viewer", Ask::get("/secrets/none?value=x")).assert_error(403, "");
    }),
    scene("1.order.resource", |w| {
        for path in ["", "/status", "/logs", "/logs/stream"] {
            let ask = || Ask::get(format!("/executions/{UNKNOWN_ID}{path}"));
            w.ask_as("operator", ask()).assert_error(404, "NOT_FOUND");
            w.ask_as("viewer", ask()).assert_error(403, "");
            // The answer for what others have is the same.
            w.ask_as("developer", ask()).assert_error(403, "");
            w.ask_as("developer", Ask::get(format!("/executions/{}{path}", w.ended))).assert_error(403, "");
            // And so it is for a part of an id, of which nothing else is said than what was asked.
            let told = ["00000000", &w.ended[..8]].map(|part| {
                let told = w.ask_as("developer", Ask::get(format!("/executions/{part}{path}")));
                told.assert_error(403, "");
                told.body.replace(part, "PART")
            });
            assert_eq!(told[0], told[1], "{path}");
        }
    }),
    scene("1.sub-path", |w| {
        for root in ["/users", "/images", "/secrets", "/executions", "/trace"] {
            w.send(&Ask::get(format!("{root}/a/b/c"))).assert_error(401, "");
        }
        w.ask(Ask::get("/users/a/b/c")).assert_error(404, "NOT_FOUND");
    }),
    row("1.unknown-path", |w| w.send(&Ask::get("/nothing")), |told| told.assert_error(404, "NOT_FOUND")),
    row(
        "1.method",
        |w| w.ask(Ask::new("PUT", "/run")),
        |told| {
            told.assert_error(405, "METHOD_NOT_ALLOWED");
            assert_eq!(told.header("allow"), Some("POST"));
        },
    ),
    scene("1.head", |w| {
        for path in ["/health", "/executions", "/images/a/b", "/claim/token"] {
            let told = w.ask(Ask::new("HEAD", path));
            told.assert_status(405);
            let allow = told.header("allow").unwrap().to_owned();
            assert!(allow.contains("GET") && !allow.contains("HEAD"), "{allow}");
        }
    }),
];
