//! Many `forbid` policies as one: most questions are forbidden by none of them, and one answer is cheaper than many.
//!
//! The merged policy forbids wherever one of its parts would, or would fail. It leaves their scopes out, so it may
//! have a say where none of them has; then they are asked one by one.

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Response};
use serde_json::{Value, json};

/// No `@id` has control characters, and a name made from a place ends in a number.
const NAME: &str = "\u{0}forbids";

/// The `permit` policies with all `forbid` policies in one; `None` where that would save nothing.
pub(super) fn merge(policies: &PolicySet) -> Option<PolicySet> {
    let (forbids, permits): (Vec<_>, Vec<_>) =
        policies.policies().partition(|policy| policy.effect() == Effect::Forbid);
    if forbids.len() < 2 || forbids.iter().any(|policy| !policy.has_non_scope_constraint()) {
        return None;
    }
    let bodies: Option<Vec<_>> = forbids.into_iter().map(body).collect();
    let any = json!({"op": "All"});
    let merged = json!({
        "effect": "forbid", "principal": any, "action": any, "resource": any,
        "conditions": [{"kind": "when", "body": either(&bodies?)?}],
    });
    let merged = Policy::from_json(Some(PolicyId::new(NAME)), merged).ok()?;
    PolicySet::from_policies(permits.into_iter().cloned().chain([merged])).ok()
}

/// Whether the merged policy forbids or fails: then only its parts can tell what that means.
pub(super) fn has_say(answer: &Response) -> bool {
    let is_merged = |id: &PolicyId| AsRef::<str>::as_ref(id) == NAME;
    let diagnostics = answer.diagnostics();
    diagnostics.reason().any(is_merged)
        || diagnostics.errors().any(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
            is_merged(error.policy_id())
        })
}

/// When a policy's conditions all hold, in the engine's JSON form.
fn body(policy: &Policy) -> Option<Value> {
    let json = policy.to_json().ok()?;
    let mut whole: Option<Value> = None;
    for condition in json.get("conditions")?.as_array()? {
        let body = condition.get("body")?.clone();
        let part = match condition.get("kind")?.as_str()? {
            "when" => body,
            "unless" => json!({"!": {"arg": body}}),
            _ => return None,
        };
        whole = Some(match whole {
            None => part,
            Some(before) => json!({"&&": {"left": before, "right": part}}),
        });
    }
    whole
}

/// A balanced tree: the engine evaluates by recursion.
fn either(bodies: &[Value]) -> Option<Value> {
    match bodies {
        [] => None,
        [one] => Some(one.clone()),
        _ => {
            let (left, right) = bodies.split_at(bodies.len() / 2);
            Some(json!({"||": {"left": either(left)?, "right": either(right)?}}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Option<usize> {
        merge(&text.parse().unwrap()).map(|set| set.policies().count())
    }

    #[test]
    fn conditions_become_one_policy_and_what_always_forbids_is_left_alone() {
        let one =
            "forbid (principal, action, resource) when { context has lock } unless { context has image };";
        assert_eq!(merged(one), None);
        assert_eq!(merged(&format!("{one}{one}permit (principal, action, resource);{one}")), Some(2));
        assert_eq!(merged(&format!("{one}{one}forbid (principal, action, resource);")), None);
    }
}
