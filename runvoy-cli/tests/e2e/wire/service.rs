use serde_json::{Value, json};

use super::ask::Ask;
use super::{Rule, row, scene};

/// What the report has, and what kind of thing it is.
fn assert_like(found: &Value, shape: &Value, place: &str) {
    match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                assert_like(&found[name], shape, &format!("{place}.{name}"));
            }
        }
        Value::Number(_) => assert!(found.is_u64(), "{place}: {found}"),
        Value::String(_) => assert!(found.is_string(), "{place}: {found}"),
        Value::Bool(_) => assert!(found.is_boolean(), "{place}: {found}"),
        Value::Array(_) => assert!(found.is_array(), "{place}: {found}"),
        Value::Null => {}
    }
}

pub(super) const RULES: &[Rule] = &[
    row(
        "4.health",
        |w| w.send(&Ask::get("/health")),
        |told| {
            told.assert_status(200);
            let body = told.json();
            assert_eq!((&body["status"], &body["provider"]), (&json!("ok"), &json!("LOCAL")), "{body}");
            assert!(
                body.as_object().unwrap().values().all(Value::is_string) && body["version"] != "",
                "{body}"
            );
        },
    ),
    row(
        "4.reconcile.shape",
        |w| w.ask(Ask::post("/health/reconcile", "")),
        |told| {
            told.assert_status(200);
            let shape = json!({"status": "", "report": {"timestamp": "",
            "compute_status": {"total_resources": 0, "verified_count": 0, "recreated_count": 0, "tag_updated_count": 0, "orphaned_count": 0, "orphaned_resources": []},
            "secrets_status": {"total_secrets": 0, "verified_count": 0, "tag_updated_count": 0, "missing_count": 0, "orphaned_count": 0, "orphaned_parameters": []},
            "identity_status": {"default_roles_verified": true, "custom_roles_verified": 0, "custom_roles_total": 0, "missing_roles": []},
            "authorizer_status": {"users_with_invalid_roles": [], "users_with_missing_roles": [], "resources_with_missing_owners": [],
                "orphaned_ownerships": [], "missing_ownerships": [], "total_users_checked": 0, "total_resources_checked": 0},
            "issues": [], "reconciled_count": 0, "error_count": 0}});
            assert_like(&told.json(), &shape, "");
            assert_eq!(told.json()["status"], "ok");
        },
    ),
    scene("4.reconcile.says", |w| {
        let live = w.live("");
        let image = json!({"image": "acme/tool:1", "task_role_name": "deployer"});
        w.ask(Ask::post("/images/register", image)).assert_status(201);
        let secret = json!({"name": "one", "key_name": "ONE", "value": "the value of one"});
        w.ask(Ask::post("/secrets", secret)).assert_status(201);
        let report = w.ask_as("operator", Ask::post("/health/reconcile", "{}")).json()["report"].clone();
        assert_eq!(report["compute_status"]["total_resources"], 1, "{report}");
        assert_eq!(report["authorizer_status"]["total_users_checked"], 4, "{report}");
        assert_eq!(report["authorizer_status"]["total_resources_checked"], 3, "{report}");
        let secrets = &report["secrets_status"];
        assert_eq!(
            (&secrets["total_secrets"], &secrets["verified_count"], &secrets["missing_count"]),
            (&json!(1), &json!(1), &json!(0)),
            "{report}"
        );
        assert_eq!(report["identity_status"]["custom_roles_total"], 1, "{report}");
        assert_eq!(report["identity_status"]["default_roles_verified"], true, "{report}");
        assert_eq!(report["error_count"], 0, "{report}");
        live.release();
    }),
    row(
        "4.trace.shape",
        |w| {
            let told = w.ask(Ask::post("/run", json!({"command": "true"})));
            w.ask(Ask::get(format!("/trace/{}", told.header("x-request-id").unwrap())))
        },
        |told| {
            told.assert_status(200);
            let body = told.json();
            let related = &body["related_resources"];
            assert_eq!(related["executions"].as_array().unwrap().len(), 1, "{body}");
            assert_eq!(related["executions"][0]["command"], "true", "{body}");
            for kind in ["secrets", "users", "images"] {
                assert!(related.get(kind).is_none_or(Value::is_array), "{body}");
            }
            for event in body["logs"].as_array().into_iter().flatten() {
                let is_event = event["event_id"].is_string()
                    && event["timestamp"].is_i64()
                    && event["message"].is_string();
                assert!(is_event, "{event}");
            }
        },
    ),
    scene("4.trace.unknown", |w| {
        for id in ["0123456789abcdef0123456789abcdef", "unknown"] {
            let told = w.ask(Ask::get(format!("/trace/{id}")));
            told.assert_status(200);
            let body = told.json();
            assert!(body["logs"].as_array().is_none_or(Vec::is_empty), "{body}");
            let related = body["related_resources"].as_object().unwrap();
            assert!(related.values().all(|list| list.as_array().is_some_and(Vec::is_empty)), "{body}");
        }
    }),
];
