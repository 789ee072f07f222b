//! Policies as an organisation of some size has them.

use std::fmt::Write as _;

/// Policies whose scope matches a developer's `run`.
const IN_SCOPE: usize = 25;

/// So many policies: most speak of one person, some of every run.
pub(crate) fn own_policies(policies: usize) -> String {
    let mut text = String::new();
    for number in 0..IN_SCOPE.min(policies) {
        let _ = writeln!(
            text,
            r#"@id("acme.guard-{number}") forbid (principal, action == Action::"run", resource)
               when {{ context has command && context.command like "*drop-table-{number} *" }};"#
        );
    }
    for number in IN_SCOPE..policies {
        let _ = writeln!(
            text,
            r#"@id("acme.person-{number}") permit (principal == User::"user{number}@acme.test", action == Action::"kill_execution", resource);"#
        );
    }
    text
}
