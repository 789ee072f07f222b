use serde_json::json;

use super::ask::{Ask, Told};
use super::world::PAGE;
use super::{Rule, row, scene};
use crate::harness::{KEY, Server};

/// What a browser asks before it asks with a key.
fn preflight(path: &str) -> Ask {
    Ask::new("OPTIONS", path)
        .header("Origin", PAGE)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-api-key")
}

fn allowed(told: &Told) -> Option<&str> {
    told.header("access-control-allow-origin")
}

pub(super) const RULES: &[Rule] = &[
    scene("9.preflight", |w| {
        for path in ["/run", "/executions", "/nothing/at/all", "/health", "/users/create"] {
            let told = w.send(&preflight(path));
            assert_eq!((told.status, told.body.as_str()), (200, ""), "{path}: {told:?}");
            assert_eq!(allowed(&told), Some(PAGE), "{path}");
        }
        w.send(&Ask::new("OPTIONS", "/run")).assert_status(200);
    }),
    scene("9.headers", |w| {
        let answers = [
            w.send(&preflight("/run")),
            w.send(&Ask::get("/health")),
            w.send(&Ask::get("/executions")),
            w.send(&Ask::get("/nothing")),
            w.ask(Ask::new("PUT", "/run")),
            w.ask(Ask::post("/run", "{")),
            w.ask(Ask::get(format!("/executions/{}/logs", w.ended))),
            w.ask(Ask::get(format!("/executions/{}/logs/stream", w.ended))),
            w.ask(Ask::delete(format!("/executions/{}", w.ended))),
        ];
        for told in answers {
            let has = |name, words: &[&str]| {
                let value = told.header(name).unwrap_or_else(|| panic!("no {name}: {told:?}"));
                let given: Vec<_> = value.split(", ").collect();
                assert!(words.iter().all(|word| given.contains(word)), "{name}: {value}");
            };
            has("access-control-allow-methods", &["GET", "POST", "PUT", "DELETE", "OPTIONS"]);
            has(
                "access-control-allow-headers",
                &["Content-Type", "X-API-Key", "Idempotency-Key", "Last-Event-ID"],
            );
            has("access-control-expose-headers", &["X-Request-Id", "Retry-After"]);
            has("access-control-max-age", &["3600"]);
        }
    }),
    scene("9.origin", |w| {
        for origin in [PAGE.to_owned(), format!("{PAGE}/")] {
            let told = w.ask(Ask::get("/executions").header("Origin", &origin));
            assert_eq!(allowed(&told), Some(origin.as_str()));
            let refused = w.send(&Ask::get("/executions").header("Origin", &origin));
            assert_eq!((refused.status, allowed(&refused)), (401, Some(origin.as_str())));
        }
    }),
    scene("9.other-origin", |w| {
        let host = PAGE.strip_prefix("https://").unwrap();
        let others = [
            "null".to_owned(),
            format!("http://{host}"),
            format!("{PAGE}:8443"),
            format!("{PAGE}.evil.test"),
            "http://localhost:5173".to_owned(),
            "http://127.0.0.1:5173".to_owned(),
        ];
        for origin in others {
            let told = w.ask(Ask::get("/executions").header("Origin", &origin));
            // It is the browser that keeps the answer from the page.
            assert_eq!((told.status, allowed(&told)), (200, None), "{origin}");
            assert_eq!(allowed(&w.send(&preflight("/run").header("X", "y"))), Some(PAGE));
        }
    }),
    scene("9.any-origin", |_| {
        let server = Server::start_with(&["--allow-origin", "*"]);
        for origin in ["http://localhost:5173", "https://anything.test"] {
            let told = Ask::get("/executions").header("Origin", origin).key(KEY).send(server.address());
            assert_eq!(allowed(&told), Some(origin), "echoed, as the key is asked for all the same");
        }
    }),
    scene("9.own-origin", |w| {
        let own = format!("http://{}", w.address());
        let told = w.ask(Ask::get("/executions").header("Origin", &own));
        assert_eq!(allowed(&told), Some(own.as_str()), "the server's own pages may");
    }),
    row(
        "9.vary",
        |w| w.send(&Ask::get("/health")),
        |told| {
            assert!(told.header("vary").unwrap().contains("Origin"), "{told:?}");
        },
    ),
    row(
        "9.no-credentials",
        |w| w.send(&preflight("/run")),
        |told| {
            assert_eq!(told.header("access-control-allow-credentials"), None);
        },
    ),
    scene("9.simple", |w| {
        // What needs no key is not asked about beforehand.
        let told = w.send(&Ask::get("/health").header("Origin", PAGE));
        assert_eq!((told.status, allowed(&told)), (200, Some(PAGE)));
        let created =
            w.ask(Ask::post("/users/create", json!({"email": "page@acme.test", "role": "viewer"}))).json();
        let claim =
            Ask::get(format!("/claim/{}", created["claim_token"].as_str().unwrap())).header("Origin", PAGE);
        let told = w.send(&claim);
        assert_eq!((told.status, allowed(&told)), (200, Some(PAGE)));
    }),
];
