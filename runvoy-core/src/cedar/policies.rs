//! From policy files to policies that can decide: parsed, named, validated, and read for what they look at.

use std::collections::HashSet;
use std::sync::LazyLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Effect, EntityTypeName, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator,
};
use serde_json::Value;

use super::error::{PolicyError, line_at};
use super::reads::Reads;
use super::slice::Scope;
use crate::port::{LoadedPolicy, PolicyEffect};

const SCHEMA: &str = include_str!("schema.cedarschema");
const BUILT_IN: [(&str, &str); 5] = [
    ("admin.cedar", include_str!("policies/admin.cedar")),
    ("operator.cedar", include_str!("policies/operator.cedar")),
    ("developer.cedar", include_str!("policies/developer.cedar")),
    ("viewer.cedar", include_str!("policies/viewer.cedar")),
    ("everybody.cedar", include_str!("policies/everybody.cedar")),
];
/// Longest `@id`: it goes into every audit record and answer that names it.
const ID_BYTES: usize = 128;

/// Parsed only when there are policies to check: the built-in ones are checked by a test, not at every start.
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "embedded, and parsed by tests of this module")]
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the embedded schema");
    Validator::new(schema)
});

/// A policy, ready to be put into slices.
pub(super) struct Rule {
    pub(super) policy: Policy,
    pub(super) scope: Scope,
    pub(super) looks: Looks,
    place: Place,
}

/// Where a policy was read, and how it is written there.
struct Place {
    /// `None` of a built-in one.
    file: Option<String>,
    line: usize,
    text: String,
}

impl Rule {
    fn new(read: Read, file: Option<&str>) -> Self {
        let Read { policy, line, text } = read;
        let place = Place { file: file.map(str::to_owned), line, text };
        Self { scope: Scope::of(&policy), looks: Looks::of(&policy), policy, place }
    }

    /// The policy, for people to read.
    pub(super) fn shown(&self) -> LoadedPolicy {
        LoadedPolicy {
            id: crate::port::PolicyId(AsRef::<str>::as_ref(self.policy.id()).into()),
            file: self.place.file.clone(),
            line: self.place.line,
            effect: match self.policy.effect() {
                Effect::Permit => PolicyEffect::Permit,
                Effect::Forbid => PolicyEffect::Forbid,
            },
            text: self.place.text.clone(),
        }
    }
}

/// What was read of one policy.
struct Read {
    policy: Policy,
    line: usize,
    text: String,
}

/// Policies that are in order, and what their authors should know of them.
pub(super) struct Loaded {
    pub(super) rules: Vec<Rule>,
    pub(super) warnings: Vec<PolicyError>,
}

impl Loaded {
    /// The rules, with the warnings in the log.
    pub(super) fn logged(self) -> Vec<Rule> {
        for warning in self.warnings {
            tracing::warn!(file = warning.file, line = warning.line, reason = warning.reason, "policy");
        }
        self.rules
    }
}

/// What a policy can look at beside attributes. May say too much, never too little.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// What it reads of the context.
    pub(super) context: Reads,
    /// It uses `resource` as a value, not only to read an attribute.
    resource: bool,
    /// The types of the entities it names.
    literals: Vec<EntityTypeName>,
}

impl Looks {
    /// Whether it can tell two resources of this type with equal attributes apart.
    pub(super) fn tells_apart(&self, type_name: &EntityTypeName) -> bool {
        self.resource || self.literals.contains(type_name)
    }

    fn of(policy: &Policy) -> Self {
        let mut looks = Self::default();
        for literal in policy.entity_literals() {
            if !looks.literals.contains(literal.type_name()) {
                looks.literals.push(literal.type_name().clone());
            }
        }
        if !policy.has_non_scope_constraint() {
            return looks;
        }
        if let Ok(json) = policy.to_json() {
            looks.read(json.get("conditions").unwrap_or(&Value::Null));
        } else {
            (looks.context, looks.resource) = (Reads::ALL, true);
        }
        looks
    }

    /// Reads a condition in the engine's JSON form, where `{"Var": "resource"}` is a use of that variable.
    fn read(&mut self, condition: &Value) {
        match condition {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value.as_str()) {
                        ("Var", Some("context")) => self.context = Reads::ALL,
                        ("Var", Some("resource")) => self.resource = true,
                        _ if reads_attribute("resource", name, value) => {}
                        _ if reads_attribute("context", name, value) => {
                            let attribute = value.get("attr").and_then(Value::as_str);
                            self.context |= attribute.map_or(Reads::ALL, Reads::attribute);
                        }
                        _ => self.read(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.read(value)),
            _ => {}
        }
    }
}

/// Whether this is `variable.attribute` or `variable has attribute`: the same for all with equal attributes.
fn reads_attribute(variable: &str, operator: &str, operands: &Value) -> bool {
    matches!(operator, "." | "has") && operands.pointer("/left/Var").is_some_and(|left| left == variable)
}

/// The built-in policies, where wanted, and those of `files`.
pub(super) fn load(built_in: bool, files: &[(&str, &str)]) -> Result<Loaded, PolicyError> {
    let mut loaded = Loaded { rules: Vec::new(), warnings: Vec::new() };
    let mut ids = HashSet::new();
    for (file, text) in BUILT_IN.iter().filter(|_| built_in) {
        loaded.rules.extend(parse(file, text, &mut ids)?.into_iter().map(|read| Rule::new(read, None)));
    }
    for (file, text) in files {
        let policies = parse(file, text, &mut ids)?;
        loaded.warnings.extend(validate(file, text, &policies)?);
        loaded.rules.extend(policies.into_iter().map(|read| Rule::new(read, Some(file))));
    }
    Ok(loaded)
}

/// The policies of a file in their order, under their own names, with their lines.
fn parse(file: &str, text: &str, ids: &mut HashSet<PolicyId>) -> Result<Vec<Read>, PolicyError> {
    let set: PolicySet =
        text.parse().map_err(|e| PolicyError::engine(file, text, 1, &DetailedError::from(&e)))?;
    if set.templates().next().is_some() {
        let line =
            text.find("?principal").or_else(|| text.find("?resource")).map_or(1, |at| line_at(text, at));
        return Err(PolicyError::new(
            file,
            line,
            "a template never applies: name the entity in place of the slot",
        ));
    }
    let mut policies: Vec<_> = set.policies().collect();
    // The engine numbers them `policy0`, `policy1`...
    policies.sort_by_key(|policy| {
        AsRef::<str>::as_ref(policy.id()).strip_prefix("policy").and_then(|n| n.parse::<usize>().ok())
    });
    let mut from = 0;
    policies
        .into_iter()
        .map(|policy| {
            let source = policy.to_cedar().unwrap_or_default();
            let at = find_code(text, &source, from).unwrap_or(from);
            from = at + source.len();
            let line = line_at(text, at);
            let id = name(file, line, policy)?;
            if !ids.insert(id.clone()) {
                return Err(PolicyError::new(file, line, format_args!("another policy is called `{id}`")));
            }
            Ok(Read { policy: policy.new_id(id), line, text: source })
        })
        .collect()
}

/// Where `source` stands in `text` after `from`, not counting comments.
fn find_code(text: &str, source: &str, from: usize) -> Option<usize> {
    let (_, rest) = text.split_at_checked(from)?;
    rest.match_indices(source).map(|(at, _)| from + at).find(|&at| {
        let before = text.get(..at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        !line.contains("//")
    })
}

/// Its `@id`, or the place where it stands.
fn name(file: &str, line: usize, policy: &Policy) -> Result<PolicyId, PolicyError> {
    let Some(id) = policy.annotation("id") else {
        return Ok(PolicyId::new(format!("{file}:{line}")));
    };
    if id.is_empty() || id.len() > ID_BYTES || id.chars().any(char::is_control) {
        let reason = format_args!("an @id has 1 to {ID_BYTES} bytes and no control characters");
        return Err(PolicyError::new(file, line, reason));
    }
    Ok(PolicyId::new(id))
}

/// Answers what is no error, and yet hardly meant.
fn validate(file: &str, text: &str, policies: &[Read]) -> Result<Vec<PolicyError>, PolicyError> {
    let line_of =
        |id: &PolicyId| policies.iter().find(|read| read.policy.id() == id).map_or(1, |read| read.line);
    let set = PolicySet::from_policies(policies.iter().map(|read| read.policy.clone()))
        .map_err(|e| PolicyError::new(file, 1, e))?;
    let result = VALIDATOR.validate(&set, ValidationMode::Strict);
    let errors = result
        .validation_errors()
        .map(|e| PolicyError::engine(file, text, line_of(e.policy_id()), &DetailedError::from(e)));
    let mut found: Vec<_> = errors.collect();
    let mut warnings = Vec::new();
    for warning in result.validation_warnings() {
        let error =
            PolicyError::engine(file, text, line_of(warning.policy_id()), &DetailedError::from(warning));
        match warning {
            // A `forbid` that can never apply protects nothing, and its author should know.
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                found.push(error);
            }
            _ => warnings.push(error),
        }
    }
    found.into_iter().min_by_key(|error| error.line).map_or(Ok(warnings), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::entities::{TYPES, Typed as _, action_uid};
    use crate::port::Action;

    #[test]
    fn the_built_in_policies_are_valid_and_named() {
        let loaded = load(false, &BUILT_IN).unwrap();
        assert!(loaded.rules.iter().all(|rule| rule.policy.annotation("id").is_some()));
        assert!(load(true, &[]).is_ok());
    }

    #[test]
    fn the_schema_has_the_actions_of_the_port_in_no_group() {
        let schema = VALIDATOR.schema();
        let mut names: Vec<_> = schema.actions().map(|action| action.id().unescaped().to_owned()).collect();
        let mut expected: Vec<_> = Action::ALL.map(|action| action.as_str().to_owned()).into();
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
        // Slices compare actions by name: a group would have to be resolved there.
        assert_eq!(schema.action_groups().count(), 0);
    }

    #[test]
    fn an_action_acts_on_what_the_schema_says() {
        for action in Action::ALL {
            let uid = action_uid(action);
            let types: Vec<_> = VALIDATOR.schema().resources_for_action(&uid).unwrap().collect();
            assert_eq!(types, [action.acts_on().type_name()], "{action}");
        }
    }

    #[test]
    fn what_is_hardly_meant_is_a_warning() {
        let text =
            "\nforbid (principal, action, resource is Lock)\nwhen { resource.name == \"\u{440}rod\" };";
        let warnings = load(true, &[("own.cedar", text)]).unwrap().warnings;
        assert_eq!((warnings.len(), warnings[0].file.as_str(), warnings[0].line), (1, "own.cedar", 3));
    }

    #[test]
    fn a_policy_is_read_for_what_it_looks_at() {
        let looks = |condition: &str| {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let looks = Looks::of(&text.parse().unwrap());
            (looks.context, looks.tells_apart(&TYPES.execution))
        };
        let none = Reads::default();
        assert_eq!(looks("true"), (none, false));
        assert_eq!(looks("context has command"), (Reads::attribute("command"), false));
        assert_eq!(looks("resource.owned_by.contains(principal)"), (none, false));
        assert_eq!(looks("resource has owned_by"), (none, false));
        assert_eq!(looks(r#"resource == Execution::"x""#), (none, true));
        assert_eq!(looks(r#"Execution::"x".owned_by.contains(principal)"#), (none, true));
        assert_eq!(looks("principal.executions.contains(resource)"), (none, true));
        assert_eq!(looks("[resource].contains(context.thing)"), (Reads::ALL, true));
        assert_eq!(looks(r#"{".": resource, "Var": context}.Var == 1"#), (Reads::ALL, true));
        assert_eq!(looks("(if true then resource else resource).owned_by.contains(principal)"), (none, true));
    }
}
