//! Who may do what, over HTTP against the real server: every route that its document has, with every kind of key.

use serde_json::{Value, json};

use super::harness::{Server, until};

/// Who has a key that works. The owner is a developer, and it is the owner's execution that is asked for.
const PEOPLE: [(&str, &str); 5] = [
    ("viewer", "viewer"),
    ("developer", "developer"),
    ("operator", "operator"),
    ("admin", "admin"),
    ("owner", "developer"),
];

/// Method, path in the document, what follows it, body, and the status that each of [`PEOPLE`] is answered.
type Row = (&'static str, &'static str, &'static str, &'static str, [u16; 5]);

const ALL: [u16; 5] = [200; 5];
const OPERATORS: [u16; 5] = [403, 403, 200, 200, 403];
const OPERATORS_AND_OWNER: [u16; 5] = [403, 403, 200, 200, 200];
const ADMINS: [u16; 5] = [403, 403, 403, 200, 403];
/// There is nothing to do it to, which only operators are told.
const OPERATORS_FIND_NONE: [u16; 5] = [403, 403, 404, 404, 403];
/// There is nothing to do it to, which only who may do it is told.
const NONE_FOR_ADMINS: [u16; 5] = [403, 403, 403, 404, 403];

const ROWS: &[Row] = &[
    ("GET", "/health", "", "", ALL),
    ("GET", "/greet/{name}", "", "", ALL),
    ("GET", "/claim/{token}", "", "", [404; 5]),
    ("GET", "/me", "", "", ALL),
    ("POST", "/health/reconcile", "", "", OPERATORS),
    ("POST", "/run", "", r#"{"command":"true"}"#, [403, 202, 202, 202, 202]),
    ("GET", "/executions", "", "", ALL),
    ("GET", "/executions", "/", "", ALL),
    ("GET", "/executions/{id}", "", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}", "?wait=1", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}/status", "", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}/why", "", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}/logs", "", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}/logs", "?tail=1", "", OPERATORS_AND_OWNER),
    ("GET", "/executions/{id}/logs/stream", "", "", OPERATORS_AND_OWNER),
    // A stream token is not in the path.
    ("GET", "/ws", "", "", [400; 5]),
    ("GET", "/ws", "?execution_id={id}", "", [401; 5]),
    ("DELETE", "/executions/{id}", "", "", [403, 403, 204, 204, 204]),
    ("GET", "/users", "", "", OPERATORS),
    ("GET", "/users", "/", "", OPERATORS),
    ("POST", "/users/create", "", r#"{"email":"new@acme.test","role":"viewer"}"#, [403, 403, 403, 201, 403]),
    ("POST", "/users/revoke", "", r#"{"email":"leaver@acme.test"}"#, ADMINS),
    ("POST", "/users/rotate", "", r#"{"email":"loser@acme.test"}"#, ADMINS),
    ("GET", "/images", "", "", OPERATORS),
    ("GET", "/images", "/", "", OPERATORS),
    ("POST", "/images/register", "", r#"{"image":"org/tool:1"}"#, [403, 403, 201, 201, 403]),
    ("GET", "/images/{reference}", "", "", OPERATORS),
    ("PUT", "/images/{reference}", "-0a1b2c3d", r#"{"is_default":true}"#, OPERATORS_FIND_NONE),
    ("DELETE", "/images/{reference}", "-0a1b2c3d", "", OPERATORS_FIND_NONE),
    ("GET", "/secrets", "", "", [403, 200, 200, 200, 200]),
    ("GET", "/secrets", "/", "", [403, 200, 200, 200, 200]),
    // The developer has it; who may not see that is told no more than of a name that is kept from them.
    ("POST", "/secrets", "", r#"{"name":"new","key_name":"K","value":"v"}"#, [403, 201, 409, 409, 409]),
    ("GET", "/secrets/{name}", "", "", OPERATORS_AND_OWNER),
    ("GET", "/secrets/{name}", "?value=false", "", OPERATORS_AND_OWNER),
    ("PUT", "/secrets/{name}", "", r#"{"description":"of the owner"}"#, OPERATORS_AND_OWNER),
    // The operator does it. Then there is none, which only operators are told.
    ("DELETE", "/secrets/{name}", "", "", [403, 403, 200, 404, 403]),
    // Of no bytes: the developer keeps it.
    ("HEAD", "/code/{sha256}", "", "", [403, 404, 404, 404, 404]),
    ("PUT", "/code/{sha256}", "", "", [403, 201, 200, 200, 200]),
    ("GET", "/locks", "", "", ALL),
    ("GET", "/locks", "/", "", ALL),
    ("GET", "/locks/{name}", "", "", ALL),
    ("DELETE", "/locks/{name}", "", "", NONE_FOR_ADMINS),
    ("DELETE", "/locks/{name}", "?abandon=true", "", NONE_FOR_ADMINS),
    ("POST", "/authz/check", "", r#"{"action":"run"}"#, ALL),
    ("GET", "/policies", "", "", OPERATORS),
    ("GET", "/trace/{request_id}", "", "", ADMINS),
    ("GET", "/audit", "", "", ADMINS),
    ("GET", "/audit/head", "", "", ADMINS),
    ("GET", "/audit/verify", "", "", ADMINS),
];

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Routes that no key is needed for.
const PUBLIC: [&str; 4] = ["/health", "/greet/{name}", "/claim/{token}", "/ws"];

/// Makes somebody known; their key, which is good for `seconds` if any are given.
fn join(server: &Server, name: &str, role: &str, seconds: Option<u64>) -> String {
    let body = json!({"email": format!("{name}@acme.test"), "role": role, "expires_in": seconds});
    let created = server.ask("POST", "/users/create", &body.to_string());
    assert_eq!(created.status, 201, "{created:?}");
    let token = created.json()["claim_token"].as_str().unwrap().to_owned();
    let claimed = server.ask_as(None, "GET", &format!("/claim/{token}"), "");
    assert_eq!(claimed.status, 200, "{claimed:?}");
    claimed.json()["api_key"].as_str().unwrap().to_owned()
}

/// Every operation of the server's document, and whether it wants a key.
fn operations(server: &Server) -> Vec<(String, String, bool)> {
    let document = server.ask_as(None, "GET", "/openapi.json", "").json();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, it)| it.get("responses").is_some());
        methods
            .map(|(method, it)| (method.to_uppercase(), path.clone(), it.get("security").is_some()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Fails if the table and the document do not tell of the same routes.
fn assert_whole(operations: &[(String, String, bool)]) {
    assert!(!operations.is_empty());
    for (method, path, keyed) in operations {
        assert!(ROWS.iter().any(|row| row.0 == method && row.1 == path), "no row has {method} {path}");
        assert_eq!(*keyed, !PUBLIC.contains(&path.as_str()), "{method} {path}");
    }
    for (method, path, ..) in ROWS {
        let known = operations.iter().any(|(m, p, _)| m == method && p == path);
        assert!(known, "the document has no {method} {path}");
    }
}

fn path((_, path, rest, ..): &Row, id: &str) -> String {
    let path = &path.replace("/secrets/{name}", "/secrets/owned").replace("{sha256}", EMPTY);
    let filled =
        path.replace("{id}", id).replace("{name}", "infra%2Fprod").replace("{reference}", "org%2Ftool:1");
    filled.replace("{token}", "a-token-that-nobody-was-given").replace("{request_id}", "unknown") + rest
}

#[test]
fn every_route_answers_every_kind_of_key_as_the_matrix_says() {
    let server = Server::start();
    assert_whole(&operations(&server));
    // Long enough to fetch it, and over when its turn comes.
    let expired = join(&server, "expired", "admin", Some(5));
    let revoked = join(&server, "revoked", "admin", None);
    join(&server, "leaver", "admin", None);
    join(&server, "loser", "admin", None);
    let keys = PEOPLE.map(|(name, role)| join(&server, name, role, None));
    let gone = server.ask("POST", "/users/revoke", r#"{"email":"revoked@acme.test"}"#);
    assert_eq!(gone.status, 200, "{gone:?}");

    let secret = r#"{"name":"owned","key_name":"K","value":"v"}"#;
    assert_eq!(server.ask_as(Some(&keys[4]), "POST", "/secrets", secret).status, 201);
    let owned = server.ask_as(Some(&keys[4]), "POST", "/run", r#"{"command":"true"}"#).json();
    let id = owned["execution_id"].as_str().unwrap().to_owned();
    server.ended(&id);
    for row in ROWS {
        for ((key, (name, _)), expected) in keys.iter().zip(PEOPLE).zip(row.4) {
            let answer = server.ask_as(Some(key), row.0, &path(row, &id), row.3);
            assert_eq!(answer.status, expected, "{} {}{} as {name}: {answer:?}", row.0, row.1, row.2);
        }
    }

    until("the key has expired", || server.ask_as(Some(&expired), "GET", "/me", "").status == 401);
    let bad = [
        (None, None),
        (Some("an-unknown-key-of-24-characters"), Some("INVALID_API_KEY")),
        (Some(expired.as_str()), Some("API_KEY_EXPIRED")),
        (Some(revoked.as_str()), Some("API_KEY_REVOKED")),
    ];
    for row in ROWS {
        for (key, code) in bad {
            let answer = server.ask_as(key, row.0, &path(row, &id), row.3);
            let told = format!("{} {}{} with {code:?}: {answer:?}", row.0, row.1, row.2);
            if PUBLIC.contains(&row.1) {
                assert_eq!(answer.status, row.4[0], "{told}");
            } else {
                let code = code.filter(|_| row.0 != "HEAD");
                assert_eq!((answer.status, answer.json()["code"].as_str()), (401, code), "{told}");
            }
        }
    }
}
