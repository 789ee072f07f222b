//! The built-in authorizer: Cedar policies for the four roles, and an organisation's own beside them.
//!
//! `schema.cedarschema` says what a policy can speak about and `policies/` what the roles may do. An organisation
//! adds `permit` and `forbid` policies of its own; a `forbid` beats every `permit`.
//!
//! ```
//! use runvoy_core::cedar::CedarAuthorizer;
//!
//! let own = r#"
//!     @id("acme.no-apply-at-night")
//!     forbid (principal, action == Action::"run", resource)
//!     when { context has command && context.command like "*apply*" && context has hour && context.hour < 6 };
//! "#;
//! let authorizer = CedarAuthorizer::with_policies(&[("night.cedar", own)])?;
//! let error = authorizer.replace(&[("night.cedar", "forbid (principal, action);")]).unwrap_err();
//! assert_eq!((error.file.as_str(), error.line), ("night.cedar", 1));
//! # Ok::<(), runvoy_core::cedar::PolicyError>(())
//! ```
//!
//! # How a question is decided
//!
//! - `run` is asked without context before the body is read (may this role run at all?) and with it after; what the run
//!   uses (`use_lock`, `use_image`, `use_secret`) is asked with the same context. Other actions never have context.
//! - A `forbid` whose condition fails to evaluate counts as if it applied, and is named: whether it would have
//!   forbidden is not known. A `permit` that fails permits nothing.
//! - Where several policies decide alike, the one with the smallest name is reported.

mod cache;
mod entities;
#[cfg(test)]
mod equivalence;
mod error;
mod merge;
mod policies;
mod reads;
mod slice;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use cedar_policy::{AuthorizationError, Effect, PolicySet, Response};

pub use error::PolicyError;

use crate::port::{
    Authorizer, AuthorizerError, AuthzRequest, Decision, LoadedPolicies, LoadedPolicy, PolicyId, RunContext,
};
use cache::{Decisions, Named, Query};
use entities::{Kind, Typed as _};
use policies::{Loaded, Rule};
use slice::{Slice, Slices};

/// Decides by Cedar policies that can be replaced while it serves.
pub struct CedarAuthorizer {
    built_in: bool,
    current: RwLock<Arc<Generation>>,
}

/// One set of policies with what was derived from it: a decision begins and ends within one.
struct Generation {
    number: u64,
    slices: Slices,
    decisions: Decisions,
}

/// Policies that were found good, and are not in force yet.
pub struct Prepared(Generation);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

impl CedarAuthorizer {
    /// With the policies of the four roles and no others.
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "embedded, and loaded by tests")]
    pub fn builtin() -> Self {
        let loaded = policies::load(true, &[]).expect("the built-in policies");
        Self::new(true, loaded)
    }

    /// With an organisation's own policies beside the built-in ones: pairs of file name and text.
    pub fn with_policies(extra: &[(&str, &str)]) -> Result<Self, PolicyError> {
        Ok(Self::new(true, policies::load(true, extra)?))
    }

    /// With these policies in place of the built-in ones. Without any, everything is denied.
    pub fn with_only(files: &[(&str, &str)]) -> Result<Self, PolicyError> {
        Ok(Self::new(false, policies::load(false, files)?))
    }

    fn new(built_in: bool, loaded: Loaded) -> Self {
        let first = Generation::new(1, loaded.logged());
        Self { built_in, current: RwLock::new(Arc::new(first)) }
    }

    /// Finds out whether these would be taken beside the built-in policies, without deciding anything: what they are,
    /// and what their authors should know of them.
    pub fn check(files: &[(&str, &str)]) -> Result<(Vec<LoadedPolicy>, Vec<PolicyError>), PolicyError> {
        let loaded = policies::load(true, files)?;
        let own = loaded.rules.iter().map(Rule::shown).filter(|policy| policy.file.is_some());
        Ok((own.collect(), loaded.warnings))
    }

    /// Puts these in the place of all policies that are not built in, and answers the new generation's number.
    ///
    /// A question is decided by the old set or by the new one, never by parts of both. On an error the old set
    /// stays.
    pub fn replace(&self, files: &[(&str, &str)]) -> Result<u64, PolicyError> {
        Ok(self.install(self.prepare(files)?))
    }

    /// The first half of [`replace`](Self::replace): finds out whether these would be taken.
    pub fn prepare(&self, files: &[(&str, &str)]) -> Result<Prepared, PolicyError> {
        Ok(Prepared(Generation::new(0, policies::load(self.built_in, files)?.logged())))
    }

    /// The second half: puts them in force.
    pub fn install(&self, Prepared(mut generation): Prepared) -> u64 {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        generation.number = current.number + 1;
        let number = generation.number;
        *current = Arc::new(generation);
        number
    }

    /// How many sets of policies there have been, the present one included.
    pub fn generation(&self) -> u64 {
        self.current().number
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for CedarAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarAuthorizer")
            .field("built_in", &self.built_in)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Authorizer for CedarAuthorizer {
    async fn authorize(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        self.current().decide(request)
    }

    fn policies(&self) -> LoadedPolicies {
        let current = self.current();
        let policies = current.slices.rules().iter().map(Rule::shown).collect();
        LoadedPolicies { generation: current.number, policies }
    }
}

impl Generation {
    fn new(number: u64, rules: Vec<Rule>) -> Self {
        Self { number, slices: Slices::new(rules), decisions: Decisions::new() }
    }

    fn decide(&self, request: &AuthzRequest<'_>) -> Result<Decision, AuthorizerError> {
        let key = self.slices.key(request);
        let slice = self.slices.get(key)?;
        let named = Kind::of(&request.resource).shows_name() || slice.tells_apart;
        let is_read = !slice.reads.is_empty() && request.action.has_context();
        let query = Query {
            slice: key,
            user: request.principal.user,
            owners: entities::owners_of(&request.resource),
            resource: Named::of(&request.resource).filter(|_| named),
            run: request.run.filter(|_| is_read).map(|run| slice.reads.of(&run)),
        };
        if let Some(decision) = self.decisions.get(&query) {
            return Ok(decision);
        }
        let decision = evaluate(&slice, request, query.run)?;
        self.decisions.insert(query, decision.clone());
        Ok(decision)
    }
}

fn evaluate(
    slice: &Slice,
    request: &AuthzRequest<'_>,
    run: Option<RunContext<'_>>,
) -> Result<Decision, AuthorizerError> {
    if slice.policies.is_empty() {
        return Ok(Decision::Deny { policy: None });
    }
    let (question, entities) = entities::question(request, run)?;
    let engine = cedar_policy::Authorizer::new();
    if let Some(merged) = &slice.merged {
        let answer = engine.is_authorized(&question, merged, &entities);
        if !merge::has_say(&answer) {
            return Ok(read(&answer, merged));
        }
    }
    let answer = engine.is_authorized(&question, &slice.policies, &entities);
    Ok(read(&answer, &slice.policies))
}

/// The engine skips policies that fail; here a `forbid` that fails forbids.
fn read(answer: &Response, policies: &PolicySet) -> Decision {
    let decided = answer.diagnostics().reason().min().map(name);
    let failed = answer.diagnostics().errors().filter_map(|error| {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        tracing::warn!(policy = %error.policy_id(), reason = %error.inner(), "a policy failed");
        let forbids =
            policies.policy(error.policy_id()).is_none_or(|policy| policy.effect() == Effect::Forbid);
        forbids.then(|| error.policy_id())
    });
    // Read to the end, for every failure to be logged.
    let failed = failed.min().map(name);
    match answer.decision() {
        cedar_policy::Decision::Allow if failed.is_none() => Decision::Allow { policy: decided },
        cedar_policy::Decision::Allow => Decision::Deny { policy: failed },
        cedar_policy::Decision::Deny => Decision::Deny { policy: decided.or(failed) },
    }
}

fn name(id: &cedar_policy::PolicyId) -> PolicyId {
    PolicyId(AsRef::<str>::as_ref(id).into())
}
