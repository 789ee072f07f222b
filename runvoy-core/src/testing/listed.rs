//! No property is forgotten in the macro of its suite.

const SUITES: [&str; 9] = [
    include_str!("audit_log.rs"),
    include_str!("executor.rs"),
    include_str!("image_registry.rs"),
    include_str!("intake.rs"),
    concat!(include_str!("key_store.rs"), include_str!("key_store/claims.rs")),
    include_str!("lock_manager.rs"),
    include_str!("log_source.rs"),
    include_str!("trace_log.rs"),
    concat!(
        include_str!("execution_store.rs"),
        include_str!("execution_store/creating.rs"),
        include_str!("execution_store/listing.rs"),
        include_str!("execution_store/reopening.rs"),
        include_str!("execution_store/steps.rs"),
    ),
];

/// What a suite of executors gives to the tests of a backend, and is no property.
const HELPERS: [&str; 3] = ["describe", "until", "exit"];

/// The words of a suite's macro.
fn listed(suite: &str) -> Vec<&str> {
    let from_macro = suite.split_once("macro_rules!").unwrap().1;
    let of_macro = from_macro.split_once("\n}\n").unwrap().0;
    of_macro.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect()
}

#[test]
fn every_property_is_in_the_macro_of_its_suite() {
    for suite in SUITES {
        let properties =
            suite.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
        let listed = listed(suite);
        let mut found = 0;
        for property in properties.filter(|property| !HELPERS.contains(property)) {
            found += 1;
            assert!(listed.contains(&property), "{property} is not in the macro");
        }
        assert!(found >= 5);
    }
}
