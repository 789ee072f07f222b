//! What one may do, asked without doing it.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::execution::Execution;
use runvoy_core::id::{Email, ExecutionId, Role};
use runvoy_core::testing::execution_store::{new_execution, some_execution};
use serde_json::{Value, json};

use super::server::{Answer, Server, key};

/// Those that the guide shows.
const EXAMPLES: [(&str, &str); 3] = [
    ("no-terraform-apply.cedar", include_str!("../../../examples/policies/no-terraform-apply.cedar")),
    (
        "prod-from-the-office-by-day.cedar",
        include_str!("../../../examples/policies/prod-from-the-office-by-day.cedar"),
    ),
    ("prod-needs-its-lock.cedar", include_str!("../../../examples/policies/prod-needs-its-lock.cedar")),
];

async fn server(policies: &[(&str, &str)]) -> Server {
    let authorizer = CedarAuthorizer::with_policies(policies).unwrap();
    Server::with(|ports| ports.authorizer = Arc::new(authorizer)).await
}

async fn check(server: &Server, role: Role, body: Value) -> Answer {
    server.ask_as(Some(&key(role)), Method::POST, "/authz/check", body.to_string()).await
}

/// Whether it is allowed, and by which policy.
async fn answer(server: &Server, role: Role, body: Value) -> (bool, Option<String>) {
    let answer = check(server, role, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let json = answer.json();
    (json["allowed"].as_bool().unwrap(), json["policy"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn the_answer_is_what_the_real_thing_would_be_told() {
    let server = server(&EXAMPLES).await;
    let runs = [
        json!({"command": "true"}),
        json!({"command": "terraform apply"}),
        json!({"command": "true", "lock": "staging"}),
        json!({"command": "true", "lock": "prod-infra"}),
        json!({"command": "terraform apply", "lock": "prod-infra"}),
        json!({"command": "true", "image": "alpine"}),
    ];
    let mut denied = 0;
    for run in runs {
        for role in Role::ALL {
            let mut asked = run.clone();
            asked["action"] = "run".into();
            let said = check(&server, role, asked).await.json();
            let real = server.ask_as(Some(&key(role)), Method::POST, "/run", run.to_string()).await;
            let is_denied = real.status == StatusCode::FORBIDDEN;
            assert_eq!(said["allowed"], !is_denied, "{role} {run}");
            if is_denied {
                denied += 1;
                let details = real.json()["details"].as_str().unwrap().to_owned();
                let [action, resource] = ["action", "resource"].map(|name| said[name].as_str().unwrap());
                let on = format!("`{action}` on `{resource}`");
                assert!(details.contains(&on), "{details}: {on}");
                let policy = said["policy"].as_str().map(|policy| format!("policy `{policy}` forbids"));
                let policy = policy.unwrap_or_else(|| "no policy allows".to_owned());
                assert!(details.starts_with(&policy), "{details}: {policy}");
            }
        }
    }
    assert!(denied >= 10, "{denied}");
}

#[tokio::test]
async fn what_a_run_uses_is_asked_by_itself_too_and_from_elsewhere_and_at_another_time() {
    let server = server(&EXAMPLES).await;
    let ask = async |body: Value| answer(&server, Role::Developer, body).await;
    let deny = |policy: &str| (false, Some(policy.to_owned()));
    let developer = (true, Some("runvoy.developer".to_owned()));
    let prod =
        json!({"action": "use_lock", "resource": "lock:prod-infra", "address": "198.51.100.7", "hour": 12});
    assert_eq!(ask(prod.clone()).await, developer);
    let other = |field: &str, value: Value| {
        let mut body = prod.clone();
        body[field] = value;
        body
    };
    assert_eq!(ask(other("hour", 20.into())).await, deny("acme.prod-by-day"));
    assert_eq!(ask(other("address", "203.0.113.1".into())).await, deny("acme.prod-from-the-office"));
    // No address is known of a request without a socket, and no time of this server is in the office's hours for sure.
    assert!(!ask(json!({"action": "use_lock", "resource": "lock:prod-infra"})).await.0);
    let secret = json!({"action": "use_secret", "resource": "secret:prod-db"});
    assert_eq!(ask(secret.clone()).await, deny("acme.prod-needs-its-lock"));
    let mut with_lock = secret;
    with_lock["lock"] = "prod-infra".into();
    assert_eq!(ask(with_lock).await, developer);
    let whole = json!({"action": "run", "command": "make", "secrets": ["prod-db"]});
    let said = check(&server, Role::Developer, whole).await.json();
    let expected = json!({"allowed": false, "policy": "acme.prod-needs-its-lock", "action": "use_secret", "resource": "secret:prod-db"});
    assert_eq!(said, expected);
    assert_eq!(ask(json!({"action": "run"})).await, developer);
    assert_eq!(answer(&server, Role::Viewer, json!({"action": "run"})).await, (false, None));
}

#[tokio::test]
async fn asking_tells_nobody_which_executions_there_are() {
    const NOWHERE: &str = "0123456789abcdef0123456789abcdef";
    let hidden = r#"
        @id("acme.admins-own") forbid (principal in Role::"operator", action, resource is Execution)
        when { resource.owned_by.contains(User::"admin@acme.test") };
    "#;
    let server = server(&[("acme.cedar", hidden)]).await;
    let theirs = server.run("true").await;
    for action in ["read_execution", "read_logs", "kill_execution"] {
        for role in [Role::Operator, Role::Developer, Role::Viewer] {
            let ask = async |id: &str| {
                let body = json!({"action": action, "resource": format!("execution:{id}")});
                let answer = check(&server, role, body).await;
                (answer.status, answer.text.replace(id, "ID"))
            };
            assert_eq!(ask(&theirs).await, ask(NOWHERE).await, "{role} {action}");
        }
    }
    let part = json!({"action": "read_logs", "resource": format!("execution:{}", &theirs[..8])});
    assert_eq!(check(&server, Role::Admin, part).await.status, StatusCode::BAD_REQUEST);
}

/// An execution of the admin's with that id.
async fn recorded(server: &Server, id: u128) -> String {
    let admin: Email = "admin@acme.test".parse().unwrap();
    let id = ExecutionId::from_u128(id);
    let record = Execution { id, created_by: admin.clone(), owned_by: vec![admin], ..some_execution() };
    server.ports.executions.create(new_execution(record)).await.unwrap();
    id.to_string()
}

#[tokio::test]
async fn a_part_of_an_id_tells_nobody_which_executions_others_have() {
    const ONE: u128 = 0xabcd_ef00_0000_0000_0000_0000_0000_0001;
    let hidden = r#"
        @id("acme.admins-own") forbid (principal in Role::"operator", action, resource is Execution)
        when { resource.owned_by.contains(User::"admin@acme.test") };
    "#;
    let server = server(&[("acme.cedar", hidden)]).await;
    let whole = recorded(&server, ONE).await;
    // Two that begin alike.
    for id in [1, 2] {
        recorded(&server, (0xfedc_ba98 << 96) + id).await;
    }
    for (role, status) in [(Role::Operator, 404), (Role::Developer, 403), (Role::Viewer, 403)] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "/status"),
            (Method::GET, "/why"),
            (Method::GET, "/logs"),
            (Method::GET, "/logs?limit=x"),
            (Method::GET, "/logs/stream"),
            (Method::DELETE, ""),
        ] {
            let ask = async |id: &str| {
                let path = format!("/executions/{id}{rest}");
                let answer = server.ask_as(Some(&key(role)), method.clone(), &path, Body::empty()).await;
                (answer.status.as_u16(), answer.text.replace(id, "ID"))
            };
            let free = ask("000000").await;
            assert!(free.0 == status || (status == 404 && rest == "/logs?limit=x"), "{role} {rest} {free:?}");
            for id in ["abcdef", "abcdef00000", &whole, "fedcba98"] {
                assert_eq!(ask(id).await, free, "{role} {method} {id}{rest}");
            }
        }
    }
    assert_eq!(server.get("/executions/abcdef").await.json()["execution_id"], whole);
    let ambiguous = server.get("/executions/fedcba98").await;
    assert_eq!(ambiguous.status, StatusCode::BAD_REQUEST);
    assert!(ambiguous.text.contains("ambiguous"), "{}", ambiguous.text);
}

#[tokio::test]
async fn owners_are_told_of_their_own_and_which_policy_forbids() {
    let policy = r#"
        @id("acme.let-it-run") forbid (principal, action == Action::"kill_execution", resource)
        when { resource.owned_by.contains(principal) };
    "#;
    let server = server(&[("acme.cedar", policy)]).await;
    let own = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/run", r#"{"command":"true"}"#).await;
    let resource = format!("execution:{}", own.json()["execution_id"].as_str().unwrap());
    let ask = async |role, action: &str| {
        answer(&server, role, json!({"action": action, "resource": resource})).await
    };
    assert_eq!(ask(Role::Developer, "read_logs").await, (true, Some("runvoy.developer-owns".to_owned())));
    assert_eq!(ask(Role::Developer, "kill_execution").await, (false, Some("acme.let-it-run".to_owned())));
    assert_eq!(ask(Role::Viewer, "read_logs").await, (false, None));
    assert_eq!(ask(Role::Admin, "kill_execution").await, (true, Some("runvoy.admin".to_owned())));
}

#[tokio::test]
async fn what_is_unknown_is_refused_with_what_is_known() {
    let server = Server::new().await;
    let cases = [
        (json!({}), "read_logs"),
        (json!({"action": "fly"}), "use_lock"),
        (json!({"action": "use_lock", "resource": "door:1"}), "`lock:NAME`"),
        (json!({"action": "use_lock"}), "`lock:NAME`"),
        (json!({"action": "use_lock", "resource": "secret:x"}), "`lock:NAME`"),
        (json!({"action": "use_lock", "resource": "lock:../x"}), "resource"),
        (json!({"action": "use_image", "resource": "image:"}), "`image:REF`"),
        (json!({"action": "list_locks", "lock": "x"}), "use_secret"),
        (json!({"action": "run", "hour": 24}), "0 to 23"),
        (json!({"action": "run", "address": "home"}), "no IP address"),
        (json!({"action": "run", "secrets": vec!["x"; 21]}), "at most 20, these are 21"),
        (json!({"action": "run", "command": "x".repeat(200_000)}), "these are 200000"),
    ];
    for (body, said) in cases {
        let answer = check(&server, Role::Viewer, body.clone()).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &"INVALID_REQUEST".into())
        );
        assert!(answer.json()["details"].as_str().unwrap().contains(said), "{body}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_question_is_no_deed_and_is_not_recorded() {
    let server = server(&EXAMPLES).await;
    for role in Role::ALL {
        answer(&server, role, json!({"action": "run", "command": "terraform apply"})).await;
        answer(&server, role, json!({"action": "read_audit"})).await;
    }
    assert_eq!(server.ports.audit.head().await.unwrap().seq, 0);
    assert_eq!(server.executions().await, 0);
}

#[tokio::test]
async fn the_policies_in_force_are_shown_with_their_place_and_text() {
    let server = server(&EXAMPLES).await;
    let shown = server.get("/policies").await.json();
    assert_eq!(shown["generation"], 1);
    let policies = shown["policies"].as_array().unwrap();
    let find = |id: &str| policies.iter().find(|policy| policy["id"] == id).unwrap();
    let own = find("acme.prod-by-day");
    assert_eq!(
        (&own["file"], &own["line"], &own["effect"]),
        (&"prod-from-the-office-by-day.cedar".into(), &8.into(), &"forbid".into())
    );
    let text = own["text"].as_str().unwrap();
    assert!(
        text.starts_with("@id(\"acme.prod-by-day\")") && text.ends_with("context.hour < 17 };"),
        "{text}"
    );
    assert_eq!(
        (&find("runvoy.viewer")["file"], &find("runvoy.viewer")["effect"]),
        (&Value::Null, &"permit".into())
    );
    let count = |file: bool| policies.iter().filter(|policy| policy["file"].is_string() == file).count();
    assert_eq!((count(true), count(false)), (5, 7));
    let denied = server.ask_as(Some(&key(Role::Developer)), Method::GET, "/policies", Body::empty()).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
}
