use crate::ID;
use crate::common::{Answer, Server, TestEnv};

/// An answer of the server with so many errors and this issue.
fn answer(errors: u64, issues: &str) -> String {
    format!(
        r#"{{"status":"ok","report":{{"timestamp":"2026-01-05T10:00:00Z",
        "compute_status":{{"total_resources":2,"verified_count":1,"recreated_count":1,"tag_updated_count":0,"orphaned_count":0,"orphaned_resources":[]}},
        "secrets_status":{{"total_secrets":0,"verified_count":0,"tag_updated_count":0,"missing_count":0,"orphaned_count":0,"orphaned_parameters":[]}},
        "identity_status":{{"default_roles_verified":true,"custom_roles_verified":0,"custom_roles_total":0,"missing_roles":[]}},
        "authorizer_status":{{"users_with_invalid_roles":[],"users_with_missing_roles":[],"resources_with_missing_owners":[],
        "orphaned_ownerships":[],"missing_ownerships":[],"total_users_checked":3,"total_resources_checked":9}},
        "issues":[{issues}],"reconciled_count":1,"error_count":{errors}}}}}"#
    )
}

#[test]
fn a_reconciliation_says_what_was_amiss_and_fails_where_something_is_left() {
    let issue = format!(
        r#"{{"resource_type":"execution","resource_id":"{ID}","severity":"error","message":"the executor is not available","action":"left for the next pass"}}"#
    );
    let (well, left) = (answer(0, ""), answer(1, &issue));
    let server = Server::new([Answer::json(200, &well), Answer::json(200, &well), Answer::json(200, &left)]);
    let env = TestEnv::new(&server.endpoint);
    let ran = env.run(&["health", "reconcile"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    executions: 2
    secrets:    0
    people:     3
    mended:     1
    not yet:    0
    at:         2026-01-05T10:00:00Z
    ");
    assert_eq!(env.run(&["health", "reconcile", "-o", "json"]).stdout.trim(), well);
    let ran = env.run(&["health", "reconcile"]);
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    assert!(ran.stdout.contains("left for the next pass") && ran.stdout.contains(ID), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 of these could not be mended yet"), "{}", ran.stderr);
    assert_eq!(server.lines()[0], "POST /api/v1/health/reconcile");
}
