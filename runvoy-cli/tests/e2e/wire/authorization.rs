use serde_json::json;

use super::ask::Ask;
use super::world::World;
use super::{Rule, scene};

const ROLES: [&str; 4] = ["admin", "operator", "developer", "viewer"];
const NONE: &str = "0123456789abcdef0123456789abcdef";

/// Asks the same as each of [`ROLES`].
fn assert_rights(w: &World, ask: impl Fn() -> Ask, expected: [u16; 4]) {
    for (role, expected) in ROLES.into_iter().zip(expected) {
        let told = w.ask_as(role, ask());
        assert_eq!(told.status, expected, "{:?} as {role}: {told:?}", ask());
    }
}

pub(super) const RULES: &[Rule] = &[
    scene("5.reconcile", |w| {
        assert_rights(w, || Ask::post("/health/reconcile", ""), [200, 200, 403, 403]);
    }),
    scene("5.run", |w| {
        assert_rights(w, || Ask::post("/run", json!({"command": "true"})), [202, 202, 202, 403]);
    }),
    scene("5.list", |w| {
        assert_rights(w, || Ask::get("/executions"), [200; 4]);
    }),
    scene("5.execution", |w| {
        let theirs = &w.ended;
        for rest in ["/status", "/logs", ""] {
            assert_rights(w, || Ask::get(format!("/executions/{theirs}{rest}")), [200, 200, 403, 403]);
        }
        assert_rights(w, || Ask::delete(format!("/executions/{theirs}")), [204, 204, 403, 403]);
        assert_rights(w, || Ask::get(format!("/executions/{NONE}/status")), [404, 404, 403, 403]);
    }),
    scene("5.owner", |w| {
        for rest in ["/status", "/logs", ""] {
            assert_rights(w, || Ask::get(format!("/executions/{}{rest}", w.own)), [200, 200, 200, 403]);
        }
        assert_rights(w, || Ask::delete(format!("/executions/{}", w.own)), [204, 204, 204, 403]);
    }),
    scene("5.users", |w| {
        for path in ["/users", "/users/"] {
            assert_rights(w, || Ask::get(path), [200, 200, 403, 403]);
        }
    }),
    scene("5.users.change", |w| {
        let create = || Ask::post("/users/create", json!({"email": "x@acme.test", "role": "viewer"}));
        assert_rights(w, create, [201, 403, 403, 403]);
        let revoke = || Ask::post("/users/revoke", json!({"email": "x@acme.test"}));
        assert_rights(w, revoke, [200, 403, 403, 403]);
    }),
    scene("5.images", |w| {
        let register = || Ask::post("/images/register", json!({"image": "tool:1"}));
        assert_rights(w, register, [201, 201, 403, 403]);
        for path in ["/images", "/images/", "/images/tool:1"] {
            assert_rights(w, || Ask::get(path), [200, 200, 403, 403]);
        }
        assert_rights(w, || Ask::delete("/images/tool:1-00000000"), [404, 404, 403, 403]);
    }),
    scene("5.secrets.create", |w| {
        for role in ROLES {
            let body = json!({"name": role, "key_name": "TOKEN", "value": "a value"});
            let expected = if role == "viewer" { 403 } else { 201 };
            w.ask_as(role, Ask::post("/secrets", body)).assert_status(expected);
        }
    }),
    scene("5.secrets.read", |w| {
        // Each has one by then, but for viewers.
        assert_rights(w, || Ask::get("/secrets"), [200, 200, 200, 403]);
        let own = w.ask_as("developer", Ask::get("/secrets")).json();
        assert_eq!((&own["total"], &own["secrets"][0]["name"]), (&json!(1), &json!("developer")), "{own}");
        assert_rights(w, || Ask::get("/secrets/operator"), [200, 200, 403, 403]);
        assert_rights(w, || Ask::get("/secrets/developer"), [200, 200, 200, 403]);
        assert_rights(w, || Ask::get("/secrets/none"), [404, 404, 403, 403]);
    }),
    scene("5.secrets.change", |w| {
        let put = |name: &str| Ask::new("PUT", format!("/secrets/{name}")).body(json!({"value": "other"}));
        assert_rights(w, || put("operator"), [200, 200, 403, 403]);
        assert_rights(w, || put("developer"), [200, 200, 200, 403]);
        assert_rights(w, || Ask::delete("/secrets/none"), [404, 404, 403, 403]);
        let remove = |role: &str, name: &str| w.ask_as(role, Ask::delete(format!("/secrets/{name}")));
        remove("developer", "operator").assert_status(403);
        for owner in ["developer", "operator", "admin"] {
            remove("viewer", owner).assert_status(403);
            remove(owner, owner).assert_status(200);
        }
    }),
    scene("5.trace", |w| {
        assert_rights(w, || Ask::get(format!("/trace/{NONE}")), [200, 403, 403, 403]);
    }),
    scene("5.public", |w| {
        w.send(&Ask::get("/health")).assert_status(200);
        w.send(&Ask::get("/claim/none")).assert_status(404);
    }),
    scene("5.keyed", |w| {
        let keyed = [
            Ask::post("/health/reconcile", ""),
            Ask::post("/run", ""),
            Ask::get("/executions"),
            Ask::get("/executions/x/status"),
            Ask::get("/executions/x/logs"),
            Ask::delete("/executions/x"),
            Ask::get("/users/"),
            Ask::post("/users/create", ""),
            Ask::post("/users/revoke", ""),
            Ask::get("/images"),
            Ask::post("/images/register", ""),
            Ask::get("/images/a/b"),
            Ask::delete("/images/a/b"),
            Ask::get("/secrets"),
            Ask::post("/secrets", ""),
            Ask::get("/secrets/x"),
            Ask::new("PUT", "/secrets/x"),
            Ask::delete("/secrets/x"),
            Ask::get("/trace/x"),
        ];
        for ask in keyed {
            w.send(&ask).assert_error(401, "");
        }
    }),
];
