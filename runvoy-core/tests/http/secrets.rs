//! Secrets over HTTP: the shapes that clients know, and who may do what with them.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::id::Role;
use runvoy_core::testing::mocks::MockSecretStore;
use serde_json::{Value, json};

use super::server::{Answer, Server, key};

fn new(name: &str) -> String {
    json!({"name": name, "key_name": "TOKEN", "value": format!("value-of-{name}"), "description": "ci"})
        .to_string()
}

pub(super) async fn create(server: &Server, role: Role, name: &str) -> Answer {
    server.ask_as(Some(&key(role)), Method::POST, "/secrets", new(name)).await
}

pub(super) async fn created(server: &Server, role: Role, name: &str) {
    let answer = create(server, role, name).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

pub(super) async fn with_policies(policies: &str) -> Server {
    let authorizer = CedarAuthorizer::with_policies(&[("acme.cedar", policies)]).unwrap();
    Server::with(|ports| ports.authorizer = Arc::new(authorizer)).await
}

pub(super) async fn run(server: &Server, role: Role, body: Value) -> Answer {
    server.ask_as(Some(&key(role)), Method::POST, "/run", body.to_string()).await
}

#[tokio::test]
async fn a_secret_has_the_shape_that_clients_know() {
    let server = Server::new().await;
    let answer = create(&server, Role::Developer, "gh").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["message"], "Secret created successfully");
    let shown = server.get("/secrets/gh").await.json();
    let secret = &shown["secret"];
    for (field, value) in [
        ("name", json!("gh")),
        ("key_name", json!("TOKEN")),
        ("description", json!("ci")),
        ("value", json!("value-of-gh")),
        ("version", json!(1)),
        ("created_by", json!("developer@acme.test")),
        ("owned_by", json!(["developer@acme.test"])),
        ("updated_by", json!("developer@acme.test")),
    ] {
        assert_eq!(secret[field], value, "{field}");
    }
    for field in ["created_at", "updated_at", "created_by_request_id", "modified_by_request_id"] {
        assert!(secret[field].is_string(), "{field}");
    }
    let mut without = secret.clone();
    without.as_object_mut().unwrap().remove("value");
    assert_eq!(server.get("/secrets/gh?value=false").await.json()["secret"], without);
    for path in ["/secrets", "/secrets/"] {
        assert_eq!(server.get(path).await.json(), json!({"secrets": [without], "total": 1}));
    }
    // Empty or absent: it stays.
    let body = json!({"value": "other", "description": "", "key_name": null}).to_string();
    let changed = server.ask(Method::PUT, "/secrets/gh", body).await;
    assert_eq!(changed.json()["message"], "Secret updated successfully", "{}", changed.text);
    let secret = server.get("/secrets/gh").await.json()["secret"].clone();
    assert_eq!((&secret["value"], &secret["version"]), (&json!("other"), &json!(2)));
    assert_eq!((&secret["description"], &secret["key_name"]), (&json!("ci"), &json!("TOKEN")));
    assert_eq!(secret["updated_by"], "admin@acme.test");
    let deleted = server.ask(Method::DELETE, "/secrets/gh", Body::empty()).await;
    assert_eq!(deleted.json()["name"], "gh");
    assert_eq!(deleted.json()["message"], "Secret deleted successfully");
    assert_eq!(server.get("/secrets").await.json(), json!({"secrets": [], "total": 0}));
}

#[tokio::test]
async fn what_is_there_or_not_has_codes_of_its_own() {
    let server = Server::new().await;
    created(&server, Role::Admin, "gh").await;
    let again = create(&server, Role::Operator, "gh").await;
    assert_eq!(
        (again.status, &again.json()["code"]),
        (StatusCode::CONFLICT, &json!("SECRET_ALREADY_EXISTS"))
    );
    for (method, body) in [(Method::GET, ""), (Method::PUT, r#"{"value":"v"}"#), (Method::DELETE, "")] {
        let missing = server.ask(method, "/secrets/none", body).await;
        let code = missing.json()["code"].clone();
        assert_eq!((missing.status, code), (StatusCode::NOT_FOUND, json!("SECRET_NOT_FOUND")));
    }
    assert_eq!(server.get("/secrets/gh").await.json()["secret"]["value"], "value-of-gh");
    for body in ["{", r#"{"name":7}"#, r#"{"name":"x/y","key_name":"K","value":"v"}"#, "{}"] {
        assert_eq!(
            server.ask(Method::POST, "/secrets", body).await.status,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
        let viewer = server.ask_as(Some(&key(Role::Viewer)), Method::POST, "/secrets", body).await;
        assert_eq!(viewer.status, StatusCode::FORBIDDEN, "{body}");
    }
}

#[tokio::test]
async fn a_run_says_which_secrets_it_got_and_no_answer_has_a_value() {
    let server = Server::new().await;
    created(&server, Role::Developer, "gh").await;
    let answer = run(&server, Role::Developer, json!({"command": "true", "secrets": ["gh", "gh"]})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
    let record = server.get(&format!("/executions/{id}")).await;
    assert_eq!(record.json()["secrets"], json!([{"name": "gh", "version": 1}]));
    let audit = server.get("/audit").await;
    let events = audit.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let used = events.into_iter().find(|event| event["action"] == "use_secret").unwrap();
    assert_eq!((&used["resource"], &used["policy"]), (&json!("secret:gh"), &json!("runvoy.developer")));
    for answer in [answer, record, audit, server.get("/executions").await, server.get("/secrets").await] {
        assert!(!answer.text.contains("value-of-gh"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_change_of_nothing_leaves_a_secret_as_it_is_and_is_not_recorded() {
    let server = Server::new().await;
    created(&server, Role::Developer, "gh").await;
    let before = server.get("/secrets/gh").await.json();
    for body in ["{}", r#"{"value":"","key_name":null}"#] {
        let told = server.ask(Method::PUT, "/secrets/gh", body).await;
        assert_eq!((told.status, &told.json()["version"]), (StatusCode::OK, &json!(1)), "{}", told.text);
        let viewer = server.ask_as(Some(&key(Role::Viewer)), Method::PUT, "/secrets/gh", body).await;
        assert_eq!(viewer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(server.get("/secrets/gh").await.json(), before);
    let audit = server.get("/audit?user=admin@acme.test").await.text;
    assert!(!audit.contains("update_secret"), "{audit}");
}

#[tokio::test]
async fn what_is_no_text_is_no_name_of_a_secret() {
    let server = Server::new().await;
    for (method, body) in [(Method::GET, ""), (Method::PUT, r#"{"value":"v"}"#), (Method::DELETE, "")] {
        let viewer = server.ask_as(Some(&key(Role::Viewer)), method.clone(), "/secrets/%FF", body).await;
        assert_eq!(viewer.status, StatusCode::FORBIDDEN);
        let told = server.ask(method, "/secrets/%FF", body).await;
        let code = told.json()["code"].clone();
        assert_eq!((told.status, code), (StatusCode::BAD_REQUEST, json!("INVALID_REQUEST")));
    }
}

#[tokio::test]
async fn a_developer_has_their_own_secrets_and_no_other() {
    let server = Server::new().await;
    created(&server, Role::Developer, "mine").await;
    created(&server, Role::Operator, "theirs").await;
    let developer = key(Role::Developer);
    let ask = async |method: Method, path: &str, body: &'static str| {
        server.ask_as(Some(&developer), method, path, body).await.status.as_u16()
    };
    let change = r#"{"value":"changed"}"#;
    assert_eq!(ask(Method::GET, "/secrets/mine", "").await, 200);
    assert_eq!(ask(Method::PUT, "/secrets/mine", change).await, 200);
    assert_eq!(ask(Method::PUT, "/secrets/theirs", change).await, 403);
    assert_eq!(ask(Method::DELETE, "/secrets/theirs", "").await, 403);
    assert_eq!(ask(Method::DELETE, "/secrets/mine", "").await, 200);
    assert_eq!(server.get("/secrets/theirs").await.json()["secret"]["value"], "value-of-theirs");
    let list = server.get("/secrets").await.json();
    assert_eq!(list["total"], 1, "{list}");
}

/// The first example of policies, with secrets that are there.
#[tokio::test]
async fn production_secrets_come_only_with_a_production_lock() {
    let server = with_policies(include_str!("../../../examples/policies/prod-needs-its-lock.cedar")).await;
    created(&server, Role::Admin, "prod-db").await;
    created(&server, Role::Admin, "staging-db").await;
    let with = async |secret: &str, lock: Option<&str>| {
        run(&server, Role::Admin, json!({"command": "make deploy", "secrets": [secret], "lock": lock})).await
    };
    for lock in [None, Some("staging")] {
        let denied = with("prod-db", lock).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN, "{}", denied.text);
        let details = denied.json()["details"].as_str().unwrap().to_owned();
        assert_eq!(details, "policy `acme.prod-needs-its-lock` forbids `use_secret` on `secret:prod-db`");
        assert_eq!(denied.json()["code"], "FORBIDDEN");
    }
    assert_eq!(with("prod-db", Some("prod-infra")).await.status, StatusCode::ACCEPTED);
    assert_eq!(with("staging-db", None).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_report_counts_the_secrets_that_its_reader_may_read_and_names_no_other() {
    let server = with_policies(
        r#"@id("acme.x") forbid (principal in Role::"operator", action == Action::"read_secret", resource == Secret::"hidden");"#,
    )
    .await;
    created(&server, Role::Admin, "hidden").await;
    created(&server, Role::Developer, "plain").await;
    let report = async |role: Role| {
        let path = "/health/reconcile";
        server.ask_as(Some(&key(role)), Method::POST, path, Body::empty()).await
    };
    for (role, total) in [(Role::Admin, 2), (Role::Operator, 1)] {
        let told = report(role).await;
        let secrets = told.json()["report"]["secrets_status"].clone();
        assert_eq!((&secrets["total_secrets"], &secrets["verified_count"]), (&json!(total), &json!(total)));
        assert_eq!(told.json()["report"]["authorizer_status"]["total_resources_checked"], total);
        assert!(!told.text.contains("hidden") && !told.text.contains("value-of-"), "{}", told.text);
    }
}

#[tokio::test]
async fn a_report_names_a_secret_whose_value_cannot_be_read() {
    let server = Server::new().await;
    created(&server, Role::Admin, "sound").await;
    created(&server, Role::Admin, "spoilt").await;
    let known = server.ports.secrets.list().await.unwrap();
    // Which asks for no value.
    let mut spoilt = MockSecretStore::new();
    spoilt.expect_list().returning(move || Ok(known.clone()));
    spoilt.expect_verify().returning(|| Ok(vec!["spoilt".parse().unwrap()]));
    let server = Server::with(|ports| ports.secrets = Arc::new(spoilt)).await;
    let told = server.ask(Method::POST, "/health/reconcile", Body::empty()).await.json();
    let (secrets, issues) = (&told["report"]["secrets_status"], &told["report"]["issues"]);
    let counts =
        ["total_secrets", "verified_count", "missing_count"].map(|name| secrets[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 1], "{told}");
    assert_eq!(issues[0]["resource_id"], "spoilt", "{told}");
    assert_eq!((&issues[0]["resource_type"], &issues[0]["severity"]), (&json!("secret"), &json!("error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_check_of_all_secrets_is_made_at_a_time() {
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let (leave, left) = std::sync::mpsc::channel();
    let left = std::sync::Mutex::new(left);
    let mut slow = MockSecretStore::new();
    slow.expect_list().returning(|| Ok(Vec::new()));
    slow.expect_verify().returning(move || {
        enter.send(()).unwrap();
        left.lock().unwrap().recv().unwrap();
        Ok(Vec::new())
    });
    let server = Arc::new(Server::with(|ports| ports.secrets = Arc::new(slow)).await);
    let check = |server: Arc<Server>| async move {
        server.ask(Method::POST, "/health/reconcile", Body::empty()).await.status
    };
    for _ in 0..2 {
        let first = tokio::spawn(check(server.clone()));
        entered.recv().await.unwrap();
        assert_eq!(check(server.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
        leave.send(()).unwrap();
        assert_eq!(first.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_server_without_a_store_says_so() {
    let server = Server::new().await;
    let bare = runvoy_core::Runvoy::builder()
        .keys(server.ports.keys.clone())
        .executions(server.ports.executions.clone())
        .locks(server.ports.locks.clone())
        .executor(server.ports.executor.clone())
        .logs(server.ports.logs.clone())
        .audit(server.ports.audit.clone())
        .authorizer(server.ports.authorizer.clone())
        .clock(server.clock.clone())
        .build()
        .unwrap();
    let bare = Server { router: runvoy_core::http::router(bare.clone()), runvoy: bare, ..server };
    let refused = run(&bare, Role::Admin, json!({"command": "true", "secrets": ["gh"]})).await;
    assert_eq!(refused.json()["details"], "secrets: this server has no secret store");
    assert_eq!(create(&bare, Role::Admin, "gh").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bare.get("/secrets").await.json()["total"], 0);
}
