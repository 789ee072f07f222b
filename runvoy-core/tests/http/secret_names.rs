//! That nobody learns of secrets that they may not see, by whatever they ask.

use axum::body::Body;
use http::{Method, StatusCode};
use runvoy_core::id::Role;
use serde_json::{Value, json};

use super::secrets::{create, created, run, with_policies};
use super::server::{Answer, Server, key};

/// Everything of an answer, its request's id apart and `name` replaced.
fn said(answer: &Answer, name: &str) -> (StatusCode, String) {
    (answer.status, answer.text.replace(name, "NAME"))
}

/// Somebody else's secret is told as one that is not there, whatever is asked of it.
#[tokio::test]
async fn whether_a_secret_exists_is_told_to_nobody_who_may_not_see_it() {
    const POLICIES: [&str; 3] = [
        "",
        // Who does not own it may not use it either: of a name that nobody has the answer is the same.
        r#"@id("acme.own") forbid (principal in Role::"developer", action == Action::"use_secret", resource)
           unless { resource.owned_by.contains(principal) };"#,
        // What is kept from them by its owner's name is told as a free name, which they might use.
        r#"@id("acme.admins") forbid (principal in Role::"developer", action == Action::"use_secret", resource)
           when { resource.owned_by.contains(User::"admin@acme.test") };"#,
    ];
    for policies in POLICIES {
        let server = with_policies(policies).await;
        created(&server, Role::Admin, "theirs").await;
        let developer = key(Role::Developer);
        for (method, body) in
            [(Method::GET, ""), (Method::PUT, r#"{"value":"v"}"#), (Method::PUT, "{"), (Method::DELETE, "")]
        {
            let [hidden, free] = [("theirs"), ("nobody")].map(|name| (name, format!("/secrets/{name}")));
            let told = server.ask_as(Some(&developer), method.clone(), &hidden.1, body).await;
            let free_told = server.ask_as(Some(&developer), method.clone(), &free.1, body).await;
            assert_eq!(said(&told, hidden.0), said(&free_told, free.0), "{method} {policies}");
            assert_eq!(told.status, StatusCode::FORBIDDEN);
        }
        let list = server.ask_as(Some(&developer), Method::GET, "/secrets", Body::empty()).await;
        assert_eq!(list.json()["total"], 0);
        for action in ["read_secret", "update_secret", "delete_secret", "use_secret"] {
            let mut answers = Vec::new();
            for name in ["theirs", "nobody"] {
                let body = json!({"action": action, "resource": format!("secret:{name}")}).to_string();
                let answer = server.ask_as(Some(&developer), Method::POST, "/authz/check", body).await;
                answers.push(said(&answer, name));
            }
            assert_eq!(answers[0], answers[1], "{action} {policies}");
        }
        if !policies.is_empty() {
            for others in [&[][..], &["nobody-2"]] {
                let mut answers = Vec::new();
                for name in ["theirs", "nobody"] {
                    let names: Vec<_> = std::iter::once(&name).chain(others).collect();
                    let body = json!({"command": "true", "secrets": names});
                    answers.push(said(&run(&server, Role::Developer, body).await, name));
                }
                assert_eq!(answers[0], answers[1], "{policies}");
                assert!(!answers[0].0.is_success(), "{answers:?}");
            }
        }
    }
}

/// Everything that a developer is told who asks whether they may do something to a secret.
async fn can_i(server: &Server, action: &str, name: &str) -> (StatusCode, String) {
    let body = json!({"action": action, "resource": format!("secret:{name}")}).to_string();
    let answer = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/authz/check", body).await;
    said(&answer, name)
}

/// Whoever hides names forbids their creation by the same policy, as the guide says.
#[tokio::test]
async fn a_name_that_is_taken_by_what_one_may_not_see_is_told_as_one_that_is_reserved() {
    let guide =
        include_str!("../../../docs/POLICIES.md").split_once("## Hiding the names of secrets").unwrap().1;
    let server = with_policies(guide.split("```").nth(1).unwrap().strip_prefix("cedar").unwrap()).await;
    created(&server, Role::Admin, "vault-taken").await;
    let mut told = Vec::new();
    for name in ["vault-taken", "vault-free"] {
        let mut answers = vec![said(&create(&server, Role::Developer, name).await, name)];
        let wrong = json!({"name": name, "key_name": "1", "value": ""}).to_string();
        let wrong = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/secrets", wrong).await;
        answers.push(said(&wrong, name));
        for action in ["create_secret", "read_secret", "update_secret", "delete_secret", "use_secret"] {
            answers.push(can_i(&server, action, name).await);
        }
        let body = json!({"command": "true", "secrets": [name]});
        answers.push(said(&run(&server, Role::Developer, body).await, name));
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
    let (status, text) = &told[0][0];
    assert_eq!(*status, StatusCode::FORBIDDEN);
    assert!(text.contains("policy `acme.vault` forbids `create_secret` on `secret:NAME`"), "{text}");
    assert_eq!(told[0][1], told[0][0], "not what else is wrong");
}

/// Where only what is there is hidden, its name is refused, and whoever tries it out is seen.
#[tokio::test]
async fn a_hidden_name_that_no_policy_reserves_is_refused_as_can_i_says() {
    let hidden = r#"@id("acme.admins") forbid (principal in Role::"developer", action == Action::"use_secret", resource)
        when { resource.owned_by.contains(User::"admin@acme.test") };"#;
    let server = with_policies(hidden).await;
    created(&server, Role::Admin, "theirs").await;
    let denied = (
        StatusCode::OK,
        json!({"allowed": false, "policy": null, "action": "create_secret", "resource": "secret:NAME"}),
    );
    let (status, answer) = can_i(&server, "create_secret", "theirs").await;
    assert_eq!((status, serde_json::from_str::<Value>(&answer).unwrap()), denied);
    let taken = create(&server, Role::Developer, "theirs").await;
    assert_eq!((taken.status, &taken.json()["code"]), (StatusCode::FORBIDDEN, &Value::Null));
    let details = taken.json()["details"].as_str().unwrap().to_owned();
    assert_eq!(details, "no policy allows `create_secret` on `secret:theirs`");
    assert_eq!(server.get("/secrets/theirs").await.json()["secret"]["value"], "value-of-theirs");
    let audit = server.get("/audit?user=developer@acme.test").await.text;
    let line: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!((&line["kind"], &line["action"]), (&json!("denied"), &json!("create_secret")), "{audit}");
    let wrong = json!({"name": "theirs", "key_name": "1", "value": ""}).to_string();
    let wrong = server.ask_as(Some(&key(Role::Developer)), Method::POST, "/secrets", wrong).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN, "not what else is wrong");
    let (_, free) = can_i(&server, "create_secret", "free").await;
    assert!(free.contains(r#""allowed":true"#), "{free}");
    created(&server, Role::Developer, "free").await;
}

#[tokio::test]
async fn whoever_may_use_a_secret_is_told_that_its_name_is_taken() {
    let server = Server::new().await;
    created(&server, Role::Admin, "theirs").await;
    let taken = create(&server, Role::Developer, "theirs").await;
    let code = taken.json()["code"].clone();
    assert_eq!((taken.status, code), (StatusCode::CONFLICT, json!("SECRET_ALREADY_EXISTS")));
    assert_eq!(
        can_i(&server, "create_secret", "theirs").await,
        can_i(&server, "create_secret", "free").await
    );
    assert_eq!(server.get("/secrets/theirs").await.json()["secret"]["value"], "value-of-theirs");
}
