use serde_json::{Value, json};

use super::ask::{Ask, Told};
use super::run::{output, run};
use super::world::World;
use super::{Rule, row, scene};

fn new(name: &str) -> Value {
    json!({"name": name, "key_name": "WIRE_TOKEN", "value": format!("value-of-{name}"), "description": "ci"})
}

fn put(name: &str, body: Value) -> Ask {
    Ask::new("PUT", format!("/secrets/{name}")).body(body)
}

/// A secret of the admin's.
fn made(w: &World, name: &str) {
    w.ask(Ask::post("/secrets", new(name))).assert_status(201);
}

fn shown(w: &World, name: &str) -> Value {
    let told = w.ask(Ask::get(format!("/secrets/{name}")));
    told.assert_status(200);
    told.json()["secret"].clone()
}

fn assert_says(told: &Told, status: u16, message: &str) {
    told.assert_status(status);
    assert_eq!(told.json()["message"], message, "{told:?}");
}

// In this order: at first there is none.
pub(super) const RULES: &[Rule] = &[
    row(
        "4.secrets.none",
        |w| w.ask(Ask::get("/secrets")),
        |told| assert_eq!(told.json(), json!({"secrets": [], "total": 0})),
    ),
    row(
        "4.secrets.create",
        |w| w.ask(Ask::post("/secrets", new("made"))),
        |told| assert_says(told, 201, "Secret created successfully"),
    ),
    scene("4.secrets.names", |w| {
        for name in ["", "two words", "a/b", "a%b", "ä", "../a"] {
            w.ask(Ask::post("/secrets", new(name))).assert_error(400, "INVALID_REQUEST");
        }
        for field in ["name", "key_name", "value"] {
            let mut body = new("half");
            body.as_object_mut().unwrap().remove(field);
            w.ask(Ask::post("/secrets", body)).assert_error(400, "INVALID_REQUEST");
        }
        w.ask(Ask::post("/secrets", json!({"name": 7}))).assert_error(400, "");
        // All that a name may have.
        let name = "Az09._-";
        made(w, name);
        assert_eq!(shown(w, name)["name"], name);
        w.ask(Ask::delete(format!("/secrets/{name}"))).assert_status(200);
    }),
    scene("4.secrets.show", |w| {
        made(w, "shown");
        let secret = shown(w, "shown");
        for (field, value) in [
            ("name", json!("shown")),
            ("key_name", json!("WIRE_TOKEN")),
            ("description", json!("ci")),
            ("value", json!("value-of-shown")),
            ("created_by", json!("admin@localhost")),
            ("owned_by", json!(["admin@localhost"])),
            ("updated_by", json!("admin@localhost")),
        ] {
            assert_eq!(secret[field], value, "{field}: {secret}");
        }
        for field in ["created_at", "updated_at"] {
            assert!(secret[field].as_str().is_some_and(|at| at.ends_with('Z')), "{field}: {secret}");
        }
        for field in ["created_by_request_id", "modified_by_request_id"] {
            assert!(secret[field].is_string(), "{field}: {secret}");
        }
    }),
    scene("4.secrets.list", |w| {
        made(w, "listed");
        let told = w.ask(Ask::get("/secrets"));
        let all = told.json()["secrets"].as_array().unwrap().clone();
        assert_eq!(told.json()["total"], all.len(), "{told:?}");
        assert!(all.is_sorted_by_key(|secret| secret["name"].as_str().unwrap().to_owned()), "{told:?}");
        let mut one = shown(w, "listed");
        assert!(one.as_object_mut().unwrap().remove("value").is_some());
        assert!(all.contains(&one), "the same without its value: {told:?}");
        assert!(!told.body.contains("value-of-"), "{told:?}");
    }),
    scene("4.secrets.update", |w| {
        made(w, "changed");
        let before = shown(w, "changed");
        let told = w.ask(put("changed", json!({"value": "another", "description": "", "key_name": null})));
        assert_says(&told, 200, "Secret updated successfully");
        let after = shown(w, "changed");
        assert_eq!((&after["value"], &before["value"]), (&json!("another"), &json!("value-of-changed")));
        for field in ["key_name", "description", "created_at", "created_by"] {
            assert_eq!(after[field], before[field], "{field}: {after}");
        }
        assert_ne!(after["modified_by_request_id"], before["modified_by_request_id"], "{after}");
        assert_says(&w.ask(put("changed", json!({"value": ""}))), 200, "Secret updated successfully");
        assert_eq!(shown(w, "changed"), after, "a change of nothing");
        w.ask(put("changed", json!({"key_name": "OTHER", "description": "cd"}))).assert_status(200);
        let last = shown(w, "changed");
        assert_eq!(
            (&last["key_name"], &last["description"], &last["value"]),
            (&json!("OTHER"), &json!("cd"), &json!("another"))
        );
    }),
    scene("4.secrets.delete", |w| {
        made(w, "gone");
        let told = w.ask(Ask::delete("/secrets/gone"));
        assert_says(&told, 200, "Secret deleted successfully");
        assert_eq!(told.json()["name"], "gone");
        w.ask(Ask::get("/secrets/gone")).assert_error(404, "SECRET_NOT_FOUND");
        made(w, "gone");
    }),
    scene("2.secret-missing", |w| {
        for ask in
            [Ask::get("/secrets/none"), put("none", json!({"value": "v"})), Ask::delete("/secrets/none")]
        {
            w.ask(ask).assert_error(404, "SECRET_NOT_FOUND");
        }
    }),
    scene("2.secret-exists", |w| {
        made(w, "there");
        let again = json!({"name": "there", "key_name": "OTHER", "value": "other"});
        w.ask(Ask::post("/secrets", again)).assert_error(409, "SECRET_ALREADY_EXISTS");
        // So for whoever may use it, but not read it.
        w.ask_as("developer", Ask::post("/secrets", new("there"))).assert_error(409, "SECRET_ALREADY_EXISTS");
        assert_eq!(shown(w, "there")["value"], "value-of-there");
    }),
    scene("2.content.secret", |w| {
        made(w, "forbidden");
        for role in ["admin", "operator"] {
            w.ask_as(role, Ask::post("/run", json!({"command": "true", "secrets": ["forbidden"]})))
                .assert_error(403, "FORBIDDEN");
        }
    }),
    scene("1.slash.secrets", |w| {
        for path in ["/secrets", "/secrets/"] {
            w.ask(Ask::get(path)).assert_status(200);
            w.send(&Ask::get(path)).assert_error(401, "");
            w.ask_as("viewer", Ask::get(path)).assert_error(403, "");
            w.ask_as("viewer", Ask::post(path, new("no"))).assert_error(403, "");
            let name = format!("slash-{}", path.len());
            w.ask(Ask::post(path, new(&name))).assert_status(201);
        }
    }),
    scene("4.run.secrets", |w| {
        made(w, "token");
        // Its value itself would be masked.
        let command = r#"[ "$WIRE_TOKEN" = value-of-token ] && echo right"#;
        assert_eq!(output(w, json!({"command": command, "secrets": ["token", "token"]})), ["right"]);
        let hidden =
            json!({"command": "echo $WIRE_TOKEN", "secrets": ["token"], "env": {"WIRE_TOKEN": "mine"}});
        assert_eq!(output(w, hidden), ["mine"]);
    }),
    scene("4.run.secrets.unknown", |w| {
        for names in [json!(["none"]), json!([""]), json!(["a/b"])] {
            run(w, json!({"command": "true", "secrets": names})).assert_error(400, "INVALID_REQUEST");
        }
    }),
];
