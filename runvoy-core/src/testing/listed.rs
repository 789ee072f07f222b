//! No property is forgotten in the macro of its suite.

const SUITES: [&str; 6] = [
    include_str!("audit_log.rs"),
    include_str!("image_registry.rs"),
    include_str!("intake.rs"),
    include_str!("key_store.rs"),
    include_str!("secret_store.rs"),
    concat!(
        include_str!("execution_store.rs"),
        include_str!("execution_store/creating.rs"),
        include_str!("execution_store/listing.rs"),
        include_str!("execution_store/reopening.rs"),
        include_str!("execution_store/steps.rs"),
    ),
];

#[test]
fn every_property_is_in_the_macro_of_its_suite() {
    for suite in SUITES {
        let properties =
            suite.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
        let mut found = 0;
        for property in properties {
            found += 1;
            let listed = suite.lines().any(|line| line.trim().trim_end_matches(';') == property);
            assert!(listed, "{property} is not in the macro");
        }
        assert!(found >= 5);
    }
}
