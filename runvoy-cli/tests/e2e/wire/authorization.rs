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
            Ask::get("/trace/x"),
        ];
        for ask in keyed {
            w.send(&ask).assert_error(401, "");
        }
    }),
];
