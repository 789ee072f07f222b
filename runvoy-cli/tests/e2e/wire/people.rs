use jiff::Timestamp;
use serde_json::{Value, json};

use super::ask::Ask;
use super::world::World;
use super::{Rule, row, scene};
use crate::harness::KEY;

fn create(email: &str) -> Ask {
    Ask::post("/users/create", json!({"email": email, "role": "developer"}))
}

fn created(w: &World, email: &str) -> Value {
    let told = w.ask(create(email));
    told.assert_status(201);
    told.json()
}

fn claim(w: &World, created: &Value) -> super::Told {
    w.send(&Ask::get(format!("/claim/{}", created["claim_token"].as_str().unwrap())))
}

fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap();
    assert!(text.ends_with('Z'), "{text}");
    let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len() - 1);
    assert!(fraction <= 9, "{text}");
    text.parse().unwrap()
}

pub(super) const RULES: &[Rule] = &[
    scene("4.users.create", |w| {
        let told = w.ask(create("new@acme.test"));
        told.assert_status(201);
        let body = told.json();
        let user = &body["user"];
        assert_eq!((&user["email"], &user["role"]), (&json!("new@acme.test"), &json!("developer")), "{body}");
        assert_eq!(user["revoked"], false);
        time(&user["created_at"]);
        let request = told.header("x-request-id").unwrap();
        assert_eq!(
            (&user["created_by_request_id"], &user["modified_by_request_id"]),
            (&json!(request), &json!(request))
        );
        assert!(user.get("last_used").is_none() && !told.body.contains("api_key"), "{told:?}");
    }),
    scene("4.users.email", |w| {
        for email in ["", "dev", "dev@", "Dev <dev@acme.test>", "a@b@c", "dev@acme.test, x@acme.test"] {
            w.ask(create(email)).assert_error(400, "INVALID_REQUEST");
        }
        w.ask(Ask::post("/users/create", json!({"role": "viewer"}))).assert_error(400, "INVALID_REQUEST");
    }),
    scene("4.users.role", |w| {
        for role in ["admin", "operator", "developer", "viewer"] {
            let body = json!({"email": format!("a-{role}@acme.test"), "role": role});
            w.ask(Ask::post("/users/create", body)).assert_status(201);
        }
        for role in ["", "root", "Admin"] {
            let body = json!({"email": "other@acme.test", "role": role});
            w.ask(Ask::post("/users/create", body)).assert_error(400, "INVALID_REQUEST");
        }
        w.ask(Ask::post("/users/create", json!({"email": "other@acme.test"})))
            .assert_error(400, "INVALID_REQUEST");
    }),
    scene("4.users.api-key", |w| {
        let key = "c2FtcGxlLWtleS0wMDAwMDAwMDAwMDAw";
        let preset = json!({"email": "preset@acme.test", "role": "viewer", "api_key": key});
        let made = w.ask(Ask::post("/users/create", preset));
        assert!(!made.body.contains(key), "{made:?}");
        assert_eq!(claim(w, &made.json()).json()["api_key"], key);
        w.send(&Ask::get("/executions").key(key)).assert_status(200);
    }),
    scene("4.users.exists", |w| {
        w.ask(create("developer@acme.test")).assert_error(409, "CONFLICT");
        created(w, "twice@acme.test");
        w.ask(create("twice@acme.test")).assert_error(409, "CONFLICT");
        w.ask(Ask::post("/users/revoke", json!({"email": "twice@acme.test"}))).assert_status(200);
        w.ask(create("twice@acme.test")).assert_error(409, "CONFLICT");
    }),
    scene("4.users.list", |w| {
        let told = w.ask(Ask::get("/users/"));
        let body = told.json();
        let users = body["users"].as_array().unwrap();
        let emails: Vec<_> = users.iter().map(|user| user["email"].as_str().unwrap()).collect();
        assert!(emails.is_sorted() && emails.contains(&"viewer@acme.test"), "{emails:?}");
        let admin =
            users.iter().find(|user| user["role"] == "admin" && user.get("last_used").is_some()).unwrap();
        time(&admin["last_used"]);
        assert!(!told.body.contains(KEY) && !told.body.contains("api_key"), "{told:?}");
    }),
    scene("4.users.revoke", |w| {
        created(w, "gone@acme.test");
        let revoke = |email: &str| w.ask(Ask::post("/users/revoke", json!({"email": email})));
        for _ in 0..2 {
            let told = revoke("gone@acme.test");
            told.assert_status(200);
            let expected = json!({"message": "user API key revoked successfully", "email": "gone@acme.test"});
            assert_eq!(told.json(), expected);
        }
        revoke("").assert_error(400, "INVALID_REQUEST");
        revoke("nobody@acme.test").assert_error(404, "NOT_FOUND");
    }),
    scene("4.users.revoked", |w| {
        let made = created(w, "leaves@acme.test");
        let key = claim(w, &made).json()["api_key"].as_str().unwrap().to_owned();
        w.ask(Ask::post("/users/revoke", json!({"email": "leaves@acme.test"}))).assert_status(200);
        w.send(&Ask::get("/executions").key(&key)).assert_error(401, "API_KEY_REVOKED");
    }),
    scene("4.claim.once", |w| {
        let made = created(w, "claims@acme.test");
        let told = claim(w, &made);
        told.assert_status(200);
        let body = told.json();
        assert_eq!(
            (&body["user_email"], &body["message"]),
            (&json!("claims@acme.test"), &json!("API key claimed successfully"))
        );
        let key = body["api_key"].as_str().unwrap();
        w.send(&Ask::get("/executions").key(key)).assert_status(200);
        claim(w, &made).assert_error(409, "CONFLICT");
    }),
    row(
        "4.claim.unknown",
        |w| w.send(&Ask::get("/claim/Qm9ndXMtdG9rZW4tZXhhbXBsZS0wMDAx")),
        |told| {
            told.assert_error(404, "NOT_FOUND");
        },
    ),
    scene("4.claim.window", |w| {
        let made = created(w, "late@acme.test");
        let until = time(&made["user"]["claim_expires_at"]);
        assert_eq!(until.duration_since(time(&made["user"]["created_at"])).as_secs(), 900, "{made}");
    }),
    scene("3.claim-token", |w| {
        let made = created(w, "form@acme.test");
        let token = made["claim_token"].as_str().unwrap();
        let is_url_safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(token.len() == 32 && token.bytes().all(is_url_safe), "{token}");
        let key = claim(w, &made).json()["api_key"].as_str().unwrap().to_owned();
        assert!(key.bytes().all(is_url_safe) && key.len() >= 32, "{key}");
    }),
    scene("3.keys", |w| {
        // Whatever a client has from elsewhere is looked up as it is, and kept as a hash.
        let made = created(w, "hash@acme.test");
        let key = claim(w, &made).json()["api_key"].as_str().unwrap().to_owned();
        let found = crate::state::holding(&w.server.data_dir(), key.as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }),
    scene("3.time", |w| {
        let status = w.status(&w.ended);
        assert!(time(&status["completed_at"]) >= time(&status["started_at"]), "{status}");
        let event = &w.logs(&w.ended)["events"][0];
        let at = Timestamp::from_millisecond(event["timestamp"].as_i64().unwrap()).unwrap();
        assert!(at.duration_since(time(&status["started_at"])).abs().as_secs() < 60, "{event}");
    }),
];
